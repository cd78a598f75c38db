"""huey: two worker processes, no results kept, blocking reads."""

from __future__ import annotations

import os

from huey import RedisHuey

from tests.bench.peers.counting import count

huey = RedisHuey("bench", url=os.environ["BENCH_REDIS"], results=False)


@huey.task()
def noop(x: int) -> None:
    count()


def fill(tasks: int) -> None:
    for n in range(tasks):
        noop(n)
