"""Cost that must not grow: with the number of pending tasks, and with the number of active ones."""

from __future__ import annotations

import statistics
import time

from qd.client.ids import new_id
from qd.protocol import codec
from qd.protocol.message import TaskMessage, Terms
from qd.protocol.ops import endings, tasks
from qd.protocol.ops.endings import Ending, Held
from qd.protocol.ops.tasks import NewTask
from tests.bench.draining import ceiling
from tests.bench.measure import Figures, link_to
from tests.support.servers import RedisServer

_ACTIVE = (1, 1_000, 5_000)
_DAY = "2026-01-01"


def pending(server: RedisServer, most: int) -> Figures:
    """Bare batches of 100 on a queue of 10,000 and on one of *most*, taking turns."""
    server.flush()
    depths = {"10,000 pending": 10_000, f"{most:,} pending": most}
    for queue, depth in depths.items():
        _store(server, queue.replace(" ", ""), depth)
    rates: dict[str, list[float]] = {queue: [] for queue in depths}
    for _ in range(9):
        for queue, found in rates.items():
            found.append(ceiling(server, 4_000, queue.replace(" ", ""))["tasks/s"])
    figures = {f"tasks/s, {queue}": statistics.median(found) for queue, found in rates.items()}
    figures["memory, GiB"] = server.client().info("memory")["used_memory"] / 2**30
    server.flush()
    return figures


def active(server: RedisServer) -> Figures:
    """
    What an ending costs while others are active: single endings and batches of 100, in us of the
    whole call per task.
    """
    server.flush()
    costs: dict[str, list[float]] = {}
    for count in _ACTIVE:
        _store(server, f"active{count}", count)
        _take(server, f"active{count}", count)
    for _ in range(15):
        for batch in (1, 100):
            for count in _ACTIVE:
                found = costs.setdefault(f"us/ending, batch {batch}, {count:,} active", [])
                found.append(_end(server, f"active{count}", batch))
    return {name: statistics.median(found) for name, found in costs.items()}


def _store(server: RedisServer, queue: str, count: int) -> None:
    terms = Terms(queue=queue, max_retry=25, timeout=1800)
    with link_to(server) as link:
        for first in range(0, count, 500):
            ids = [new_id() for _ in range(min(500, count - first))]
            new = [
                NewTask(one, codec.encode_task(TaskMessage("noop", b'{"x":1}', one, terms)))
                for one in ids
            ]
            link.execute(tasks.enqueue(queue, new, now_ns=time.time_ns()))


def _take(server: RedisServer, queue: str, count: int) -> list[Ending]:
    until = int(time.time()) + 3600
    taken: list[Ending] = []
    with link_to(server) as link:
        while len(taken) < count:
            step = tasks.dequeue(
                queue,
                count=min(100, count - len(taken)),
                owner="o",
                nonce=new_id(),
                lease_until=until,
            )
            taken += [Ending(Held(one.id, until, until)) for one in link.execute(step) or ()]
    return taken


def _end(server: RedisServer, queue: str, batch: int) -> float:
    """Put 100 tasks on top of those that are active, end them; us per task."""
    _store(server, queue, 100)
    ended = _take(server, queue, 100)
    with link_to(server) as link:
        began = time.perf_counter()
        for first in range(0, 100, batch):
            part = ended[first : first + batch]
            link.execute(endings.done(queue, "o", part, day=_DAY, now=int(time.time())))
        return (time.perf_counter() - began) / 100 * 1e6
