"""
A queue at work: handlers that succeed, fail, wait and merge, and a producer that feeds them all.

    python -m tests.inspector.apps.load URL     enqueues until it is killed; a line when it has begun
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
from contextlib import closing

import qd
from qd.errors import QdError
from qd.protocol.state import TaskState

app = qd.App("load")

QUEUES = ("mail", "low")


@app.task("fine", max_retry=3)
async def fine(n: int, ctx: qd.Context) -> None:
    await asyncio.sleep(0.005 * (n % 3))
    if n % 5 == 0 and ctx.attempt < 3:
        raise ValueError("not yet")
    if n % 29 == 0:
        raise qd.SkipRetry("never")


@app.task("kept", retention="2s")
async def kept(n: int) -> int:
    return n


@app.task("later", max_retry=1)
async def later(n: int) -> None:
    if n % 7 == 0:
        raise qd.Snooze("1s")


@app.aggregator("*")
def merge(group: str, tasks: list[qd.Task]) -> tuple[str, dict[str, int]]:
    return "kept", {"n": len(tasks)}


def produce(url: str) -> None:
    """Enqueue by turns in every way there is, and intervene as an operator now and then."""
    settings = {"redis": {"addrs": [url]}, "retry": {"policy": "fixed", "initial": "1s"}}
    with closing(qd.App("producer", config=settings)) as producer:
        client, inspector = producer.client, producer.inspector()
        print("producing", flush=True)
        for n in itertools.count():
            queue = QUEUES[n % 2]
            payload = {"n": n}
            try:
                client.enqueue("fine", payload, queue=queue, max_retry=3)
                client.enqueue("fine", {"n": n % 10}, queue=queue, unique="5s", max_retry=3)
                client.enqueue("kept", payload, queue=queue, retention="2s")
                client.enqueue("later", payload, queue=queue, process_in=f"{1 + n % 3}s")
                client.enqueue("kept", payload, queue=queue, group=f"g{n % 4}", unique="3s")
                if n % 10 == 0:
                    link = producer.new_task("kept").payload(payload)
                    (link.queue("mail") >> qd.gather([link.queue("low")] * 3) >> link).enqueue()
                if n % 20 == 0:
                    act = random.choice((inspector.tasks.run_all, inspector.tasks.delete_all))
                    act(queue, TaskState.ARCHIVED)
                    inspector.tasks.archive_all(queue, TaskState.SCHEDULED)
            except QdError:
                # An equal unique task exists.
                continue


if __name__ == "__main__":
    produce(sys.argv[1])
