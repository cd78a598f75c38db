"""The application that `qd bench` runs: a handler that does nothing, one that tells the time."""

from __future__ import annotations

import time

from qd.app.app import App

app = App("qd-bench")

NOTHING = "qd-bench:nothing"
LATENCY = "qd-bench:latency"


@app.task(NOTHING)
async def nothing(x: int) -> None:
    pass


@app.task(LATENCY)
async def latency(sent_ns: int) -> int:
    """Return how many nanoseconds ago the task was enqueued, by the clock of this host."""
    return time.time_ns() - sent_ns
