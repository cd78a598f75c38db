"""RQ: workers that do not fork for each job, no results kept."""

from __future__ import annotations

import os

from redis import Redis
from rq import Queue

from tests.bench.peers.counting import count


def noop(x: int) -> None:
    count()


def fill(tasks: int) -> None:
    queue = Queue("default", connection=Redis.from_url(os.environ["BENCH_REDIS"]))
    for first in range(0, tasks, 500):
        queue.enqueue_many(
            [
                Queue.prepare_data(noop, (n,), result_ttl=0)
                for n in range(first, min(first + 500, tasks))
            ]
        )
