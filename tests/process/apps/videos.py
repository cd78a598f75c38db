"""An application of polls: `video:*` look at the video in their payload, three times, one at a time."""

from __future__ import annotations

import asyncio
import time

import qd
from tests.process.apps.jobs import GO, app, note
from tests.support.wait import aeventually, eventually

LOOKS = 3


def _answer(ctx: qd.Context) -> str:
    note("looked", ctx)
    if ctx.look < LOOKS:
        raise qd.NotYet(f"look {ctx.look}")
    note("end", ctx)
    return "found"


poll = app.poll("video:", key="payload.video", initial_delay="1s", max_delay="1s", max_retry=0)


@poll
async def look(ctx: qd.Context, video: str) -> str:
    note("look", ctx)
    await asyncio.sleep(0.05)
    return _answer(ctx)


@app.poll("held:", key="payload.video", initial_delay="1s", max_delay="1s")
async def held(ctx: qd.Context, video: str) -> str:
    """Its looks last until they are let go; the first says not yet."""
    note("look", ctx)
    await aeventually(GO.exists, 120)
    note("looked", ctx)
    if ctx.look == 1:
        raise qd.NotYet("not at the first look")
    return "found"


@app.poll("held-sync:", key="payload.video", initial_delay="1s", max_delay="1s")
def held_sync(ctx: qd.Context, video: str) -> str:
    note("look", ctx)
    eventually(GO.exists, 120)
    time.sleep(0.01)
    note("looked", ctx)
    if ctx.look == 1:
        raise qd.NotYet("not at the first look")
    return "found"
