"""Rates at which tasks come in, from one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import redis
import uvloop

from qd.client.ids import new_id
from qd.protocol import codec
from qd.protocol.message import TaskMessage, Terms
from qd.protocol.op import Op
from qd.protocol.ops import tasks
from qd.protocol.ops.tasks import NewTask
from tests.bench.measure import QUEUE, Figures, client_of, fill
from tests.support.servers import RedisServer


def enqueue(server: RedisServer, count: int) -> Figures:
    """One by one and beside it redis-py's bare call of the same script; 100 callers; thousands."""
    server.flush()
    client = client_of(server)
    own = bare = 0.0
    with redis.Redis(port=server.port) as raw:
        client.enqueue("noop", {"x": 0})  # makes the script known
        _bare(raw, 1)
        for _ in range(10):
            began = time.perf_counter()
            for n in range(count // 10):
                client.enqueue("noop", {"x": n})
            between = time.perf_counter()
            _bare(raw, count // 10)
            own += between - began
            bare += time.perf_counter() - between
    client.close()
    return {
        "one by one/s": count / own,
        "bare evalsha of redis-py/s": count / bare,
        "100 coroutines/s": uvloop.run(_from_coroutines(server, 10 * count)),
        "bare, 100 tasks a call/s": _bare_batches(server, 10 * count, 100),
        "enqueue_many of 1,000/s": fill(server, "noop", 20 * count),
        "bare, 1,000 tasks a call/s": _bare_batches(server, 20 * count, 1000),
    }


def _step(count: int) -> Op[Any]:
    terms = Terms(queue=QUEUE, max_retry=25, timeout=1800)
    ids = [new_id() for _ in range(count)]
    new = [
        NewTask(one, codec.encode_task(TaskMessage("noop", b'{"x":1}', one, terms))) for one in ids
    ]
    return tasks.enqueue(QUEUE, new, now_ns=time.time_ns())


def _bare(raw: redis.Redis, count: int) -> None:
    op = _step(1)
    assert op.script is not None
    *first, _, message = op.args
    for _ in range(count):
        raw.evalsha(op.script.sha, 1, *op.keys, *first, new_id(), message)


def _bare_batches(server: RedisServer, count: int, batch: int) -> float:
    """The same script with arguments that lie ready: what Redis and its client allow."""
    calls = [_step(batch) for _ in range(count // batch)]
    with redis.Redis(port=server.port) as raw:
        raw.ping()
        began = time.perf_counter()
        for op in calls:
            assert op.script is not None
            raw.evalsha(op.script.sha, 1, *op.keys, *op.args)
        return count / (time.perf_counter() - began)


async def _from_coroutines(server: RedisServer, count: int) -> float:
    client = client_of(server)

    async def caller(tasks: int) -> None:
        for n in range(tasks):
            await client.aenqueue("noop", {"x": n})

    callers: list[Coroutine[Any, Any, None]] = [caller(count // 100) for _ in range(100)]
    began = time.perf_counter()
    await asyncio.gather(*callers)
    rate = count / (time.perf_counter() - began)
    await client.aclose()
    return rate
