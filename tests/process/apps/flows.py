"""An application whose tasks are links of flows, and one that makes a flow."""

from __future__ import annotations

from typing import Any

import qd
from tests.process.apps.jobs import app, note


@app.task("link")
async def link(ctx: qd.Context) -> list[Any]:
    note("start", ctx)
    before = await ctx.results()
    note("end", ctx)
    return [*(one for some in before for one in some), ctx.task_id]


@app.task("maker")
async def maker(ctx: qd.Context) -> None:
    """Its second run, if there is one, finds the flow of the first."""
    note("start", ctx)
    try:
        await (link.link() >> link.link() >> link.link()).aenqueue(id=ctx.task_id)
    except qd.FlowIdConflict:
        note("conflict", ctx)
    note("end", ctx)
