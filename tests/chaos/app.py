"""The application of the chaos suite: handlers that write the journal, and some that kill."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import qd
from tests.chaos.journal import note
from tests.support.wait import aeventually

app = qd.App("chaos")

GATE = "CHAOS_GATE"
"""Names a file: tasks of type `gate` end once it exists, or the one with their pid behind its name."""


@app.task("work")
async def work(ctx: qd.Context, seconds: float = 0.05) -> None:
    note("start", ctx.task_id, ctx.retried)
    await asyncio.sleep(seconds)
    note("end", ctx.task_id, ctx.retried)


@app.task("work:sync")
def work_sync(ctx: qd.Context, seconds: float = 0.05) -> None:
    note("start", ctx.task_id, ctx.retried)
    time.sleep(seconds)
    note("end", ctx.task_id, ctx.retried)


@app.task("gate")
async def gate(ctx: qd.Context) -> None:
    note("start", ctx.task_id, ctx.retried)
    common, own = Path(os.environ[GATE]), Path(f"{os.environ[GATE]}-{os.getpid()}")
    await aeventually(lambda: common.exists() or own.exists(), within=600)
    note("end", ctx.task_id, ctx.retried)


@app.task("poison")
async def poison(ctx: qd.Context, how: str) -> None:
    """Ends its own process: by a fault in C, by leaving, by a signal, by taking all memory."""
    note("start", ctx.task_id, ctx.retried)
    match how:
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            os._exit(0)
        case "abort":
            os.abort()
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "memory":
            taken = []
            while True:
                taken.append(b"x" * (16 << 20))


@app.task("loop")
def loop(ctx: qd.Context) -> None:
    """One call into C that keeps the interpreter's lock for hours."""
    note("start", ctx.task_id, ctx.retried)
    re.match(r"(a|aa)+$", "a" * 60 + "b")
    note("end", ctx.task_id, ctx.retried)


@app.aggregator("numbers-*")
def merge(group: str, tasks: list[qd.Task]) -> tuple[str, dict[str, list[int]]]:
    return "merged", {"numbers": [json.loads(one.payload)["n"] for one in tasks]}


@app.task("merged")
def merged(ctx: qd.Context, numbers: list[int]) -> None:
    note("start", ctx.task_id, ctx.retried)
    for number in numbers:
        note("member", f"{ctx.task_id}/{number}", ctx.retried)
    note("end", ctx.task_id, ctx.retried)


@app.task("stranger")
def stranger(ctx: qd.Context) -> None:
    """Leaves a process behind whose parent is gone, as daemons do; it ends at once."""
    note("start", ctx.task_id, ctx.retried)
    subprocess.run(["/bin/sh", "-c", "sleep 0.1 &"], check=True, stdin=subprocess.DEVNULL)
    note("end", ctx.task_id, ctx.retried)
