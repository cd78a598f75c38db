"""Rates at which queues are drained, and what that costs in CPU time."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import redis

from qd.client.ids import new_id
from qd.protocol import codec
from qd.protocol.message import TaskMessage, Terms
from qd.protocol.ops import endings, tasks
from qd.protocol.ops.endings import Ending, Held
from qd.protocol.ops.tasks import NewTask
from tests.bench.contenders import Contender
from tests.bench.measure import (
    QUEUE,
    ROOT,
    Figures,
    cpu_seconds,
    fill,
    link_to,
    processed,
    started,
    worker,
)
from tests.support.servers import RedisServer
from tests.support.wait import eventually

_DAY = "2026-01-01"
_BARE_SECONDS = 4


def ceiling(server: RedisServer, count: int, queue: str = QUEUE) -> Figures:
    """Tasks through bare batches of 100: enqueue, dequeue, done, one after the other."""
    with link_to(server) as link:
        terms = Terms(queue=queue, max_retry=25, timeout=1800)
        began, cpu = time.perf_counter(), cpu_seconds(server.pid)
        for _ in range(0, count, 100):
            ids = [new_id() for _ in range(100)]
            new = [
                NewTask(one, codec.encode_task(TaskMessage("noop", b'{"x":1}', one, terms)))
                for one in ids
            ]
            link.execute(tasks.enqueue(queue, new, now_ns=time.time_ns()))
            until = int(time.time()) + 15
            taken = link.execute(
                tasks.dequeue(queue, count=100, owner="o", nonce=new_id(), lease_until=until)
            )
            ended = [Ending(Held(one.id, until, until)) for one in taken or ()]
            link.execute(endings.done(queue, "o", ended, day=_DAY, now=int(time.time())))
        took = time.perf_counter() - began
    return {
        "tasks/s": count / took,
        "redis us/task": (cpu_seconds(server.pid) - cpu) / count * 1e6,
    }


def drain(server: RedisServer, one: Contender, scale: float) -> Figures:
    """Drain a full queue. The clock starts when a tenth is done: everybody runs by then."""
    server.flush()
    count = max(int(one.tasks * scale), 500)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder, log = Path(name, "counts"), Path(name, "log")
        folder.mkdir()
        one.fill(server, count, folder)
        pids = [
            stack.enter_context(started(one.command(server), log, one.env(server, folder)))
            for _ in range(one.copies)
        ]
        first = eventually(
            lambda: done if (done := one.done(server, folder)) >= count // 10 else 0, within=60
        )
        began, cpu, redis_cpu = time.perf_counter(), cpu_seconds(*pids), cpu_seconds(server.pid)
        eventually(lambda: one.done(server, folder) >= count, within=300)
        took, done = time.perf_counter() - began, count - first
        return {
            "tasks/s": done / took,
            "worker us/task": (cpu_seconds(*pids) - cpu) / done * 1e6,
            "redis us/task": (cpu_seconds(server.pid) - redis_cpu) / done * 1e6,
        }


def burn(server: RedisServer, count: int, folder: Path) -> Figures:
    """
    Tasks of 5 ms of pure Python: how much of two cores the handlers get, and how much two bare loops do.

    Counted from the first tenth to the last, when both processes run and have work.
    """
    server.flush()
    fill(server, "burn", count)
    raw = server.client()
    with worker(server, folder=folder):
        first = eventually(lambda: _at_least(raw, count // 10), within=60)
        began = time.perf_counter()
        last = eventually(lambda: _at_least(raw, count * 9 // 10), within=300)
        took = time.perf_counter() - began
    raw.close()
    return {
        "% of two cores in handlers": (last - first) * 0.005 / (2 * took) * 100,
        "% of two cores in bare loops": _bare_burn() * 0.005 / (2 * _BARE_SECONDS) * 100,
    }


def _at_least(raw: redis.Redis, count: int) -> int:
    return done if (done := processed(raw)) >= count else 0


def _bare_burn() -> int:
    """How often two processes that do nothing else get through the same handler."""
    program = (
        "import time; from tests.bench.app import burn; n, end = 0, time.perf_counter() + "
        f"{_BARE_SECONDS}\nwhile time.perf_counter() < end: burn(0); n += 1\nprint(n)"
    )
    loops = [
        subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    return sum(int(one.communicate()[0]) for one in loops)
