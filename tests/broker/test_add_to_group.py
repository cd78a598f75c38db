"""add_to_group: new tasks that wait until they are merged."""

from __future__ import annotations

import pytest
import redis

from qd.broker.link import Link
from qd.errors import BrokerFull, BrokerRefused
from qd.protocol import keys
from qd.protocol.ops import tasks
from qd.protocol.ops.tasks import NewTask, Refused
from tests.support.builders import NOW, lock_key, message, new
from tests.support.servers import RedisServer
from tests.support.snapshot import snapshot


def add(link: Link, *made: NewTask) -> list[Refused | None]:
    return link.execute(tasks.add_to_group("mail", made, now=NOW))


def test_tasks_are_stored_as_asynq_stores_them_and_nothing_else_is_written(
    link: Link, raw: redis.Redis
) -> None:
    assert add(link, new("t1", group="g1"), new("t2", group="g2")) == [None, None]
    assert snapshot(raw) == {
        "asynq:{mail}:g:g1": {"t1": NOW},
        "asynq:{mail}:g:g2": {"t2": NOW},
        "asynq:{mail}:groups": {"g1", "g2"},
        **{
            f"asynq:{{mail}}:t:{task}": {
                "msg": message(task, group=group),
                "state": b"aggregating",
                "group": group.encode(),
            }
            for task, group in (("t1", "g1"), ("t2", "g2"))
        },
    }


def test_a_unique_task_takes_its_lock_and_its_hash_names_it(link: Link, raw: redis.Redis) -> None:
    assert add(link, new("t1", unique="u", ttl=90, group="g1")) == [None]
    assert raw.ttl(lock_key("u")) == 90
    assert raw.hget(keys.task("mail", "t1"), "unique_key") == lock_key("u").encode()


def test_refusals_are_by_task_and_leave_nothing_behind(link: Link, raw: redis.Redis) -> None:
    add(link, new("t1", unique="u", group="g1"))
    before = snapshot(raw)
    assert add(
        link,
        new("t1", unique="other", group="g2"),
        new("t2", unique="u", group="g2"),
    ) == [Refused(state="aggregating"), Refused(holder="t1")]
    assert snapshot(raw) == before


def test_a_lock_key_that_holds_something_else_harms_no_other_task(
    link: Link, raw: redis.Redis
) -> None:
    raw.lpush(lock_key("u"), "not a lock")
    made = [new("t1", group="g"), new("t2", unique="u", group="g"), new("t3", group="g")]
    assert add(link, *made) == [None, Refused(), None]
    assert raw.zrange(keys.group("mail", "g"), 0, -1) == [b"t1", b"t3"]


@pytest.mark.parametrize("key", [keys.groups("mail"), keys.group("mail", "g2")])
def test_a_key_of_another_type_leaves_everything_untouched(
    link: Link, raw: redis.Redis, key: str
) -> None:
    raw.set(key, "something else")
    before = snapshot(raw)
    with pytest.raises(BrokerRefused, match="WRONGTYPE"):
        add(link, new("t1", unique="u", group="g1"), new("t2", group="g2"))
    assert snapshot(raw) == before


def test_a_full_server_refuses_and_keeps_nothing(
    link: Link, raw: redis.Redis, server: RedisServer
) -> None:
    with server.configured(maxmemory="1"):
        with pytest.raises(BrokerFull):
            add(link, new("t1", unique="u", group="g1"))
        assert snapshot(raw) == {}
