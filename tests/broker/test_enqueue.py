"""enqueue: new tasks at the tail of a queue's line, each accepted or refused by itself."""

from __future__ import annotations

import pytest
import redis

from qd.broker.link import Link
from qd.errors import BrokerFull, BrokerRefused
from qd.protocol import keys
from qd.protocol.ops import tasks
from qd.protocol.ops.tasks import Refused
from tests.support.builders import NOW_NS, Queue, lock_key, message, new
from tests.support.servers import RedisServer
from tests.support.snapshot import changes, snapshot


def test_announcing_makes_queues_known(link: Link, raw: redis.Redis) -> None:
    assert link.execute(tasks.announce(["mail", "low"])) == 2
    assert link.execute(tasks.announce(["mail"])) == 0
    assert snapshot(raw) == {"asynq:queues": {"mail", "low"}}


def test_a_task_is_stored_as_asynq_stores_it_and_nothing_else_is_written(
    queue: Queue, raw: redis.Redis
) -> None:
    assert queue.enqueue("t1") == [None]
    assert snapshot(raw) == {
        "asynq:{mail}:pending": ["t1"],
        "asynq:{mail}:t:t1": {
            "msg": message("t1"),
            "state": b"pending",
            "pending_since": str(NOW_NS).encode(),
        },
    }
    assert raw.ttl("asynq:{mail}:t:t1") == raw.ttl("asynq:{mail}:pending") == -1


def test_the_first_of_a_batch_is_the_first_to_run(queue: Queue, raw: redis.Redis) -> None:
    queue.enqueue("a", "b", "c")
    queue.enqueue("d")
    assert raw.lrange(keys.pending("mail"), 0, -1) == [b"d", b"c", b"b", b"a"]


def test_a_large_batch_is_taken_in_whole(queue: Queue, raw: redis.Redis) -> None:
    ids = [f"t{n:04}" for n in range(1200)]
    assert queue.enqueue(*ids) == [None] * 1200
    assert [one.decode() for one in raw.lrange(keys.pending("mail"), 0, -1)] == ids[::-1]


def test_an_id_that_is_in_use_is_refused_with_the_state_of_its_task(
    queue: Queue, raw: redis.Redis
) -> None:
    queue.enqueue("t1")
    before = snapshot(raw)
    assert queue.enqueue("t1", "t2") == [Refused(state="pending"), None]
    raw.hset(keys.task("mail", "t2"), "state", "completed")
    assert queue.enqueue("t2") == [Refused(state="completed")]
    assert changes(before, snapshot(raw)).keys() == {"asynq:{mail}:pending", "asynq:{mail}:t:t2"}


def test_an_id_twice_in_a_batch_is_taken_in_once(queue: Queue, raw: redis.Redis) -> None:
    assert queue.enqueue("t1", "t1") == [None, Refused(state="pending")]
    assert raw.llen(keys.pending("mail")) == 1


def test_a_unique_task_takes_its_lock_for_the_given_time(queue: Queue, raw: redis.Redis) -> None:
    assert queue.enqueue(new("t1", unique="u", ttl=90)) == [None]
    assert raw.get(lock_key("u")) == b"t1"
    assert raw.ttl(lock_key("u")) == 90
    assert raw.hget(keys.task("mail", "t1"), "unique_key") == lock_key("u").encode()


def test_an_equal_task_is_refused_with_the_id_that_holds_the_lock(
    queue: Queue, raw: redis.Redis
) -> None:
    queue.enqueue(new("t1", unique="u"))
    before = snapshot(raw)
    assert queue.enqueue(new("t2", unique="u")) == [Refused(holder="t1")]
    assert snapshot(raw) == before


def test_an_id_conflict_leaves_no_lock_behind(queue: Queue, raw: redis.Redis) -> None:
    queue.enqueue("t1")
    before = snapshot(raw)
    assert queue.enqueue(new("t1", unique="u")) == [Refused(state="pending")]
    assert snapshot(raw) == before


def test_a_repeated_unique_enqueue_finds_its_own_task(queue: Queue) -> None:
    queue.enqueue(new("t1", unique="u"))
    assert queue.enqueue(new("t1", unique="u")) == [Refused(state="pending")]


def test_a_lock_that_has_run_out_is_free(queue: Queue, raw: redis.Redis) -> None:
    queue.enqueue(new("t1", unique="u"))
    raw.delete(lock_key("u"))
    assert queue.enqueue(new("t2", unique="u")) == [None]


def test_a_lock_key_that_holds_something_else_harms_no_other_task(
    queue: Queue, raw: redis.Redis
) -> None:
    raw.lpush(lock_key("u"), "not a lock")
    assert queue.enqueue("t1", new("t2", unique="u"), "t3") == [None, Refused(), None]
    assert raw.lrange(keys.pending("mail"), 0, -1) == [b"t3", b"t1"]
    assert raw.exists(keys.task("mail", "t2")) == 0


def test_an_id_whose_key_holds_something_else_is_refused(queue: Queue, raw: redis.Redis) -> None:
    raw.set(keys.task("mail", "t1"), "not a task")
    assert queue.enqueue("t1", "t2") == [Refused(state="unknown"), None]


def test_a_pending_key_of_another_type_leaves_everything_untouched(
    queue: Queue, raw: redis.Redis
) -> None:
    raw.set(keys.pending("mail"), "not a list")
    before = snapshot(raw)
    with pytest.raises(BrokerRefused, match="WRONGTYPE"):
        queue.enqueue("t1", new("t2", unique="u"))
    assert snapshot(raw) == before


def test_a_full_server_refuses_and_keeps_nothing(
    queue: Queue, raw: redis.Redis, server: RedisServer
) -> None:
    with server.configured(maxmemory="1"):
        with pytest.raises(BrokerFull):
            queue.enqueue("t1", new("t2", unique="u"))
        assert snapshot(raw) == {}
