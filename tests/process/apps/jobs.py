"""
An application for tests with real processes.

Handlers add lines `event type id pid attempt` to the file named by TEST_JOURNAL; `hold` waits
until the file `go` exists beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import signal
import sys
import time
from pathlib import Path

import qd
from tests.support.wait import aeventually

app = qd.App("jobs")

JOURNAL = Path(os.environ["TEST_JOURNAL"])
GO = JOURNAL.with_name("go")


def note(event: str, ctx: qd.Context) -> None:
    line = f"{event} {ctx.task_type} {ctx.task_id} {os.getpid()} {ctx.attempt}\n"
    descriptor = os.open(JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


@app.task("fine")
async def fine(ctx: qd.Context) -> None:
    note("ran", ctx)


@app.task("slow")
async def slow(ctx: qd.Context, seconds: float = 0.02) -> None:
    note("start", ctx)
    await asyncio.sleep(seconds)
    note("end", ctx)


@app.task("slow:sync")
def slow_sync(ctx: qd.Context, seconds: float = 0.02) -> None:
    note("start", ctx)
    time.sleep(seconds)
    note("end", ctx)


@app.task("hold")
async def hold(ctx: qd.Context) -> None:
    note("start", ctx)
    await aeventually(GO.exists, 120)
    note("end", ctx)


@app.task("deaf")
async def deaf(ctx: qd.Context) -> None:
    """Never listens, never ends."""
    note("start", ctx)
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)


@app.task("stuck")
def stuck(ctx: qd.Context) -> None:
    """One call into C that no exception interrupts."""
    note("start", ctx)
    time.sleep(3600)


@app.task("elsewhere")
async def elsewhere(ctx: qd.Context) -> None:
    """Waits for a thread of its own making, as many libraries do."""
    note("start", ctx)
    await asyncio.to_thread(time.sleep, 3600)


@app.task("spins")
def spins(ctx: qd.Context) -> None:
    note("start", ctx)
    while True:
        pass


@app.task("loops")
def loops(ctx: qd.Context) -> None:
    """One call into C that keeps the interpreter's lock for hours."""
    note("start", ctx)
    re.match(r"(a|aa)+$", "a" * 60 + "b")


@app.task("blocks")
async def blocks(ctx: qd.Context) -> None:
    """Holds the whole loop for ever."""
    note("start", ctx)
    while True:
        pass


@app.task("alarm")
def alarm(ctx: qd.Context) -> None:
    """What only the main thread may do."""
    rang: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: rang.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    while not rang:
        time.sleep(0.01)
    signal.signal(signal.SIGALRM, before)
    note("rang", ctx)


@app.task("exit")
def leave(ctx: qd.Context) -> None:
    note("start", ctx)
    sys.exit(3)


@app.task("exit:async")
async def leave_async(ctx: qd.Context) -> None:
    note("start", ctx)
    sys.exit(3)


@app.task("exit:subtask")
async def leave_in_a_task(ctx: qd.Context) -> None:
    note("start", ctx)

    async def inner() -> None:
        sys.exit(3)

    await asyncio.create_task(inner())


@app.task("die")
def die(ctx: qd.Context) -> None:
    note("start", ctx)
    os._exit(9)


@app.task("segfault")
async def segfault(ctx: qd.Context) -> None:
    note("start", ctx)
    ctypes.string_at(0)
