"""forward: what is due becomes pending, or joins its group, in order and never as a ghost."""

from __future__ import annotations

import pytest
import redis

from qd.broker.link import Link
from qd.errors import BrokerRefused
from qd.protocol import keys
from qd.protocol.ops import tasks, upkeep
from qd.protocol.ops.upkeep import Forwarded
from qd.protocol.state import TaskState
from tests.support.builders import NOW, NOW_NS, Queue, new
from tests.support.servers import RedisServer
from tests.support.snapshot import snapshot


def forward(link: Link, limit: int = 100) -> Forwarded:
    return link.execute(upkeep.forward("mail", TaskState.SCHEDULED, now_ns=NOW_NS + 5, limit=limit))


def schedule(link: Link, **at: int) -> None:
    link.execute(tasks.schedule("mail", [new(one, process_at=when) for one, when in at.items()]))


def test_what_is_due_runs_in_the_order_of_its_time(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    schedule(link, late=NOW, early=NOW - 9, future=NOW + 1)
    assert forward(link) == Forwarded(2, NOW + 1)
    assert raw.hget(keys.task("mail", "early"), "pending_since") == str(NOW_NS + 5).encode()
    taken = queue.take(9)
    assert taken is not None
    assert [one.id for one in taken] == ["early", "late"]
    assert raw.zrange(keys.scheduled("mail"), 0, -1) == [b"future"]


def test_no_more_than_the_limit_is_moved_at_once(link: Link) -> None:
    schedule(link, a=NOW - 3, b=NOW - 2, c=NOW - 1)
    assert forward(link, limit=2) == Forwarded(2, NOW - 1)
    assert forward(link, limit=2) == Forwarded(1, None)
    assert forward(link, limit=2) == Forwarded(0, None)


def test_thousands_at_once(link: Link, raw: redis.Redis) -> None:
    made = [new(f"t{n}", process_at=NOW) for n in range(3000)]
    link.execute(tasks.schedule("mail", made))
    assert forward(link, limit=5000).moved == 3000
    assert raw.llen(keys.pending("mail")) == 3000


def test_a_ghost_is_dropped_and_not_revived(link: Link, raw: redis.Redis) -> None:
    schedule(link, t1=NOW)
    raw.zadd(keys.scheduled("mail"), {"ghost": NOW, "odd": NOW})
    raw.set(keys.task("mail", "odd"), "not a hash")
    assert forward(link).next_at is None
    assert raw.lrange(keys.pending("mail"), 0, -1) == [b"t1"]
    assert raw.exists(keys.task("mail", "ghost")) == 0
    assert raw.exists(keys.scheduled("mail")) == 0


def test_a_task_whose_group_cannot_take_it_runs_alone(link: Link, raw: redis.Redis) -> None:
    link.execute(tasks.schedule("mail", [new("t1", process_at=NOW, group="g")]))
    raw.set(keys.group("mail", "g"), "not a zset")
    forward(link)
    assert raw.lrange(keys.pending("mail"), 0, -1) == [b"t1"]
    assert raw.hget(keys.task("mail", "t1"), "state") == b"pending"


@pytest.mark.parametrize("name", ["scheduled", "pending", "groups"])
def test_a_key_of_another_type_leaves_everything_untouched(
    link: Link, raw: redis.Redis, name: str
) -> None:
    schedule(link, t1=NOW)
    raw.delete(f"asynq:{{mail}}:{name}")
    raw.set(f"asynq:{{mail}}:{name}", "something else")
    before = snapshot(raw)
    with pytest.raises(BrokerRefused, match="WRONGTYPE"):
        forward(link)
    assert snapshot(raw) == before


def test_a_full_server_is_no_obstacle(link: Link, server: RedisServer) -> None:
    schedule(link, t1=NOW)
    with server.configured(maxmemory="1"):
        assert forward(link).moved == 1
