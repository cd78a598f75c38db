"""An application whose handlers have effects outside that must happen once."""

from __future__ import annotations

from typing import Any, Literal

import qd
from tests.process.apps.jobs import app, note


@app.task("charge")
async def charge(ctx: qd.Context, doubt: Literal["run", "raise"] = "run") -> None:
    async def effect() -> str:
        note("effect", ctx)
        return ctx.task_id

    receipt = await ctx.once(f"charge:{ctx.task_id}", effect, doubt=doubt)
    assert receipt == ctx.task_id
    note("end", ctx)


@app.task("charge:sync")
def charge_sync(ctx: qd.Context) -> None:
    def effect() -> Any:
        note("effect", ctx)
        return {"receipt": ctx.task_id}

    receipt = ctx.once_now(f"charge:{ctx.task_id}", effect)
    assert receipt == {"receipt": ctx.task_id}
    note("end", ctx)


@app.task("shared")
async def shared(ctx: qd.Context) -> None:
    """Many tasks have one effect together."""
    await ctx.once("shared", lambda: note("effect", ctx))
    note("end", ctx)
