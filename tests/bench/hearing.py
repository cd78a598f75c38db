"""How soon those who wait for a task hear of its end."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path

from tests.bench.measure import Figures, client_of, wait_ready, worker
from tests.support.servers import RedisServer

_WITHIN = 30.0


def hear(server: RedisServer, count: int, folder: Path) -> dict[str, Figures]:
    """
    Idle workers, one task at a time: from the last line of the handler to the return of the wait.

    What is between: the outcome is written, Redis tells of the change, the waiter reads the task.
    """
    server.flush()
    raw = server.client()
    with worker(server, folder=folder):
        wait_ready(raw)
        found = {
            "heard, await info.aresult()": _summary(asyncio.run(_coroutine(server, count))),
            "heard, info.result()": _summary(_thread(server, count)),
        }
    raw.close()
    return found


async def _coroutine(server: RedisServer, count: int) -> list[float]:
    client = client_of(server)
    took = []
    for _ in range(count):
        info = await client.aenqueue("ended", retention="1m")
        ended_ns = await info.aresult(_WITHIN)
        took.append((time.time_ns() - ended_ns) / 1e6)
    await client.aclose()
    return took


def _thread(server: RedisServer, count: int) -> list[float]:
    client = client_of(server)
    took = []
    for _ in range(count):
        ended_ns = client.enqueue("ended", retention="1m").result(_WITHIN)
        took.append((time.time_ns() - ended_ns) / 1e6)
    client.close()
    return took


def _summary(took: list[float]) -> Figures:
    ordered = sorted(took)
    return {
        "p50 ms": statistics.median(ordered),
        "p99 ms": ordered[max(int(len(ordered) * 0.99) - 1, 0)],
        "max ms": ordered[-1],
    }
