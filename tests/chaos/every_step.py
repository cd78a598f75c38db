"""An application whose tasks take every way there is: delayed, grouped, periodic, kept for a while."""

from __future__ import annotations

from typing import Any, NamedTuple

import qd
from tests.process.apps.jobs import app, note


class Part(NamedTuple):
    """A task that has become part of another, as the journal shows it."""

    task_id: str
    task_type: str = "part"
    attempt: int = 1


@app.aggregator("*")
def merge(group: str, tasks: list[qd.Task]) -> tuple[str, Any]:
    return "whole", {"parts": [task.id for task in tasks]}


@app.task("whole")
async def whole(parts: list[str]) -> None:
    for part in parts:
        note("end", Part(part))


@app.task("paid")
async def paid(ctx: qd.Context) -> None:
    await ctx.once(ctx.task_id, lambda: note("effect", ctx))
    note("end", ctx)


@app.task("tick")
async def tick(ctx: qd.Context) -> None:
    note("tick", ctx)
