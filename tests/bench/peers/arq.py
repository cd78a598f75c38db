"""arq: 100 jobs at once in each of two processes, no results kept, a short pause between polls."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings

from tests.bench.peers.counting import count

_redis = RedisSettings.from_dsn(os.environ["BENCH_REDIS"])


async def noop(ctx: Any, x: int) -> None:
    count()


class WorkerSettings:
    functions = (noop,)
    redis_settings = _redis
    max_jobs = 100
    poll_delay = 0.01
    keep_result = 0


def fill(tasks: int) -> None:
    async def enqueue() -> None:
        pool = await create_pool(_redis)
        for first in range(0, tasks, 100):
            await asyncio.gather(
                *(pool.enqueue_job("noop", n) for n in range(first, min(first + 100, tasks)))
            )
        await pool.aclose()

    asyncio.run(enqueue())
