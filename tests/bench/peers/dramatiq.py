"""Dramatiq: its default middleware; threads and prefetch are given by command and environment."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from tests.bench.peers.counting import count

dramatiq.set_broker(RedisBroker(url=os.environ["BENCH_REDIS"]))


@dramatiq.actor
def noop(x: int) -> None:
    count()


def fill(tasks: int) -> None:
    for n in range(tasks):
        noop.send(n)
