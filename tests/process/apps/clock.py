"""An application with a periodic task and a task for later; see `jobs` for the journal."""

from __future__ import annotations

import qd
from tests.process.apps.jobs import note

app = qd.App("clock")


@app.schedule("@every 1s", name="tick", queue="default")
async def tick(ctx: qd.Context) -> None:
    note("tick", ctx)


@app.task("later")
async def later(ctx: qd.Context) -> None:
    note("ran", ctx)
