"""schedule: new tasks that wait for their time."""

from __future__ import annotations

import pytest
import redis

from qd.broker.link import Link
from qd.errors import BrokerFull, BrokerRefused
from qd.protocol import keys
from qd.protocol.ops import tasks, upkeep
from qd.protocol.ops.tasks import NewTask, Refused
from qd.protocol.state import TaskState
from tests.support.builders import NOW, NOW_NS, lock_key, message, new
from tests.support.servers import RedisServer
from tests.support.snapshot import snapshot


def schedule(link: Link, *made: NewTask) -> list[Refused | None]:
    return link.execute(tasks.schedule("mail", made))


def test_a_task_is_stored_as_asynq_stores_it_and_nothing_else_is_written(
    link: Link, raw: redis.Redis
) -> None:
    assert schedule(link, new("t1", process_at=NOW + 60)) == [None]
    assert snapshot(raw) == {
        "asynq:{mail}:scheduled": {"t1": NOW + 60},
        "asynq:{mail}:t:t1": {"msg": message("t1"), "state": b"scheduled"},
    }


def test_a_unique_task_takes_its_lock(link: Link, raw: redis.Redis) -> None:
    assert schedule(link, new("t1", unique="u", ttl=90, process_at=NOW + 60)) == [None]
    assert raw.get(lock_key("u")) == b"t1"
    assert raw.ttl(lock_key("u")) == 90
    assert raw.hget(keys.task("mail", "t1"), "unique_key") == lock_key("u").encode()


def test_refusals_are_by_task_and_leave_nothing_behind(link: Link, raw: redis.Redis) -> None:
    schedule(link, new("t1", unique="u", process_at=NOW))
    before = snapshot(raw)
    assert schedule(
        link,
        new("t1", process_at=NOW),
        new("t1", unique="other", process_at=NOW),
        new("t2", unique="u", process_at=NOW),
    ) == [Refused(state="scheduled"), Refused(state="scheduled"), Refused(holder="t1")]
    assert snapshot(raw) == before


def test_a_lock_key_that_holds_something_else_harms_no_other_task(
    link: Link, raw: redis.Redis
) -> None:
    raw.lpush(lock_key("u"), "not a lock")
    made = [new("t1", process_at=NOW), new("t2", unique="u", process_at=NOW)]
    assert schedule(link, *made, new("t3", process_at=NOW)) == [None, Refused(), None]
    assert raw.zrange(keys.scheduled("mail"), 0, -1) == [b"t1", b"t3"]


def test_a_task_with_a_group_joins_it_when_its_time_has_come(link: Link, raw: redis.Redis) -> None:
    """asynq forgets the group of a delayed task, and handles it alone."""
    schedule(link, new("t1", process_at=NOW, group="g1"), new("t2", process_at=NOW))
    assert raw.hget(keys.task("mail", "t1"), "group") == b"g1"
    moved = link.execute(upkeep.forward("mail", TaskState.SCHEDULED, now_ns=NOW_NS, limit=10))
    assert (moved.moved, moved.next_at) == (2, None)
    assert raw.zrange(keys.group("mail", "g1"), 0, -1, withscores=True) == [(b"t1", NOW)]
    assert raw.smembers(keys.groups("mail")) == {b"g1"}
    assert raw.hget(keys.task("mail", "t1"), "state") == b"aggregating"
    assert raw.lrange(keys.pending("mail"), 0, -1) == [b"t2"]


def test_a_key_of_another_type_leaves_everything_untouched(link: Link, raw: redis.Redis) -> None:
    raw.set(keys.scheduled("mail"), "not a zset")
    before = snapshot(raw)
    with pytest.raises(BrokerRefused, match="WRONGTYPE"):
        schedule(link, new("t1", unique="u", process_at=NOW))
    assert snapshot(raw) == before


def test_a_full_server_refuses_and_keeps_nothing(
    link: Link, raw: redis.Redis, server: RedisServer
) -> None:
    with server.configured(maxmemory="1"):
        with pytest.raises(BrokerFull):
            schedule(link, new("t1", unique="u", process_at=NOW))
        assert snapshot(raw) == {}
