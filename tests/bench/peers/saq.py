"""SAQ: 100 jobs at once in each of two processes, no results kept."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from saq import Queue

from tests.bench.peers.counting import count

queue = Queue.from_url(os.environ["BENCH_REDIS"])


async def noop(ctx: Any, *, x: int) -> None:
    count()


settings = {"queue": queue, "functions": [noop], "concurrency": 100}


def fill(tasks: int) -> None:
    async def enqueue() -> None:
        await queue.connect()
        for first in range(0, tasks, 100):
            await asyncio.gather(
                *(queue.enqueue("noop", x=n, ttl=-1) for n in range(first, min(first + 100, tasks)))
            )
        await queue.disconnect()

    asyncio.run(enqueue())
