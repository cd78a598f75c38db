"""park and unpark: a task that must wait stands in asynq's scheduled set, and is called from there."""

from __future__ import annotations

import redis

from qd.broker.link import Link
from qd.protocol import keys
from qd.protocol.ops import endings, upkeep
from qd.protocol.ops.endings import Ending, Fate, Held
from qd.protocol.state import TaskState
from tests.support.builders import DAY, NOW, NOW_NS, OWNER, Queue, message
from tests.support.snapshot import snapshot

WAITS = '["limit","api",""]'


def park(link: Link, *held: Held, owner: str = OWNER) -> list[Fate]:
    parked = [Ending(one, at=NOW + 60, waits=WAITS) for one in held]
    return link.execute(endings.park("mail", owner, parked, day=DAY, now=NOW))


def call(link: Link, *ids: str) -> list[str]:
    return link.execute(endings.unpark("mail", ids, now_ns=NOW_NS))


def test_a_parked_task_is_a_scheduled_one_to_every_tool(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    some = queue.hold("t1")
    raw.delete(keys.fetch("mail", OWNER))
    assert park(link, *some) == [Fate.OK]
    assert snapshot(raw) == {
        "asynq:{mail}:scheduled": {"t1": float(NOW + 60)},
        "asynq:{mail}:t:t1": {
            "msg": message("t1"),
            "state": b"scheduled",
            "qd_waits": WAITS.encode(),
        },
    }


def test_nobody_parks_what_is_not_his(queue: Queue, link: Link, raw: redis.Redis) -> None:
    some = queue.hold("t1")
    assert park(link, *some, owner="somebody else") == [Fate.STALE]
    assert raw.zcard(keys.scheduled("mail")) == 0


def test_tasks_that_are_called_go_to_the_head_in_their_order(queue: Queue, link: Link) -> None:
    park(link, *queue.hold("t1", "t2"))
    queue.enqueue("new")
    assert call(link, "t1", "t2") == []
    assert call(link, "t1", "t2") == []
    taken = queue.take(4, nonce="n2")
    assert taken is not None
    assert [one.id for one in taken] == ["t1", "t2", "new"]


def test_who_is_called_later_stands_behind_those_called_before(queue: Queue, link: Link) -> None:
    park(link, *queue.hold("t1", "t2", "t3"))
    queue.enqueue("new")
    call(link, "t1", "t2")
    call(link, "t3")
    taken = queue.take(4, nonce="n2")
    assert taken is not None
    assert [one.id for one in taken] == ["t1", "t2", "t3", "new"]


def test_a_task_that_is_called_before_it_is_parked_does_not_wait(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    some = queue.hold("t1", "t2")
    assert call(link, "t1") == []
    park(link, *some)
    assert raw.lrange(keys.pending("mail"), 0, -1) == [b"t1"]
    assert raw.zrange(keys.scheduled("mail"), 0, -1) == [b"t2"]


def test_who_calls_hears_of_tasks_that_do_not_come(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    park(link, *queue.hold("t1"))
    raw.zadd(keys.scheduled("mail"), {"delayed": NOW})
    raw.hset(keys.task("mail", "delayed"), mapping={"msg": message("d"), "state": "scheduled"})
    assert call(link, "gone", "delayed") == ["gone", "delayed"]
    raw.set(keys.paused("mail"), 1)
    assert call(link, "t1") == ["t1"]
    assert raw.zcard(keys.scheduled("mail")) == 2


def test_at_its_safety_time_it_comes_back_by_itself(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    park(link, *queue.hold("t1"))
    later = (NOW + 60) * 1_000_000_000
    link.execute(upkeep.forward("mail", TaskState.SCHEDULED, now_ns=later, limit=10))
    assert raw.hgetall(keys.task("mail", "t1")) == {
        b"msg": message("t1"),
        b"state": b"pending",
        b"pending_since": str(later).encode(),
    }
