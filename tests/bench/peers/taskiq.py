"""Taskiq with a list (a killed worker loses its tasks) or, if BENCH_STREAM is set, a stream."""

from __future__ import annotations

import asyncio
import os

from taskiq_redis import ListQueueBroker, RedisStreamBroker

from tests.bench.peers.counting import count

kind = RedisStreamBroker if os.environ.get("BENCH_STREAM") else ListQueueBroker
broker = kind(os.environ["BENCH_REDIS"])


@broker.task
async def noop(x: int) -> None:
    count()


def fill(tasks: int) -> None:
    async def enqueue() -> None:
        await broker.startup()
        for first in range(0, tasks, 100):
            await asyncio.gather(*(noop.kiq(n) for n in range(first, min(first + 100, tasks))))
        await broker.shutdown()

    asyncio.run(enqueue())
