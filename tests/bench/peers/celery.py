"""Celery: prefork, no results, a prefetch for many short tasks (its guide "Optimizing")."""

from __future__ import annotations

import os

from celery import Celery

from tests.bench.peers.counting import count

app = Celery("bench", broker=os.environ["BENCH_REDIS"])
app.conf.update(
    task_ignore_result=True,
    task_acks_late=bool(os.environ.get("BENCH_ACKS_LATE")),
    worker_prefetch_multiplier=128,
    worker_disable_rate_limits=True,
    broker_connection_retry_on_startup=True,
)


@app.task(name="noop")
def noop(x: int) -> None:
    count()


def fill(tasks: int) -> None:
    with app.producer_pool.acquire() as producer:
        for n in range(tasks):
            noop.apply_async((n,), producer=producer)
