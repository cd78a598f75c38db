"""The application that the benchmarks run: handlers that do next to nothing."""

from __future__ import annotations

import asyncio
import os
import time

import qd

app = qd.App("bench")


@app.task("noop")
async def noop(x: int) -> None:
    pass


@app.task("plain")
def plain(x: int) -> None:
    pass


@app.task("wait")
async def wait(x: int) -> None:
    await asyncio.sleep(0.01)


@app.task("burn")
def burn(x: int) -> None:
    """Work for 5 ms, measured in CPU time of this thread."""
    end = time.thread_time() + 0.005
    while time.thread_time() < end:
        sum(range(100))


@app.task("stamp")
async def stamp(sent_ns: int) -> None:
    """Append how long ago the task was enqueued, in nanoseconds."""
    took = time.time_ns() - sent_ns
    fd = os.open(os.environ["BENCH_STAMPS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"%d\n" % took)
    os.close(fd)


@app.task("ended")
async def ended() -> int:
    """Last long enough to be waited for; the result is when it ended, in Unix nanoseconds."""
    await asyncio.sleep(0.05)
    return time.time_ns()
