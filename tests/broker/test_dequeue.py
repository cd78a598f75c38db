"""dequeue: tasks pass to a worker, under a lease, and a lost answer can be asked for again."""

from __future__ import annotations

import pytest
import redis

from qd.broker.link import Link
from qd.errors import BrokerRefused
from qd.protocol import keys
from qd.protocol.ops import tasks
from qd.protocol.ops.tasks import Taken
from tests.support.builders import NOW_NS, OWNER, UNTIL, Queue, message, new
from tests.support.servers import RedisServer
from tests.support.snapshot import snapshot


def ids(taken: list[Taken] | None) -> list[str]:
    assert taken is not None, "the queue is paused"
    return [one.id for one in taken]


def test_a_task_becomes_active_under_a_lease_and_nothing_else_is_written(
    queue: Queue, raw: redis.Redis
) -> None:
    queue.enqueue("t1")
    assert queue.take() == [Taken("t1", message("t1"), 0)]
    assert snapshot(raw) == {
        "asynq:{mail}:active": ["t1"],
        "asynq:{mail}:lease": {"t1": UNTIL},
        "asynq:{mail}:t:t1": {
            "msg": message("t1"),
            "state": b"active",
            "qd_owner": OWNER.encode(),
        },
        f"qd:{{mail}}:fetch:{OWNER}": b"n\x91\xa2t1",
    }
    assert 0 < raw.ttl(keys.fetch("mail", OWNER)) <= 120


def test_since_when_a_task_was_waiting_is_told_once(queue: Queue) -> None:
    queue.enqueue("t1")
    assert [one.pending_since for one in queue.take() or ()] == [NOW_NS]
    assert [one.pending_since for one in queue.take() or ()] == [0]


def test_the_oldest_come_first_and_the_rest_stays(queue: Queue, raw: redis.Redis) -> None:
    queue.enqueue("a", "b", "c", "d")
    assert ids(queue.take(3)) == ["a", "b", "c"]
    assert raw.lrange(keys.pending("mail"), 0, -1) == [b"d"]
    assert raw.lrange(keys.active("mail"), 0, -1) == [b"c", b"b", b"a"]


def test_fewer_than_asked_for_are_taken_when_there_are_no_more(
    queue: Queue, raw: redis.Redis
) -> None:
    queue.enqueue("a", "b")
    assert ids(queue.take(100)) == ["a", "b"]
    assert raw.exists(keys.pending("mail")) == 0


def test_nothing_is_written_when_nothing_waits(queue: Queue, raw: redis.Redis) -> None:
    assert queue.take() == []
    assert snapshot(raw) == {}


def test_a_paused_queue_gives_nothing(queue: Queue, raw: redis.Redis) -> None:
    queue.enqueue("t1")
    raw.set(keys.paused("mail"), "1")
    before = snapshot(raw)
    assert queue.take() is None
    assert snapshot(raw) == before


def test_the_same_nonce_gives_the_same_tasks_and_renews_their_lease(
    queue: Queue, raw: redis.Redis
) -> None:
    queue.enqueue("a", "b", "c")
    first = queue.take(2, nonce="n1")
    assert queue.take(2, nonce="n1", until=UNTIL + 2) == first
    assert raw.zrange(keys.lease("mail"), 0, -1, withscores=True) == [
        (b"a", UNTIL + 2),
        (b"b", UNTIL + 2),
    ]
    assert raw.lrange(keys.pending("mail"), 0, -1) == [b"c"]
    assert ids(queue.take(2, nonce="n2")) == ["c"]


def test_the_same_nonce_gives_its_tasks_even_when_the_queue_has_been_paused(
    queue: Queue, raw: redis.Redis
) -> None:
    queue.enqueue("a")
    first = queue.take(nonce="n1")
    raw.set(keys.paused("mail"), "1")
    assert queue.take(nonce="n1") == first


def test_the_same_nonce_does_not_give_what_is_somebody_elses_by_now(
    queue: Queue, raw: redis.Redis
) -> None:
    queue.enqueue("ended", "taken over", "mine", "pending again")
    queue.take(4, nonce="n1")
    raw.delete(keys.task("mail", "ended"))
    raw.hset(keys.task("mail", "taken over"), "qd_owner", "worker-2")
    raw.hset(keys.task("mail", "pending again"), "state", "pending")
    assert ids(queue.take(4, nonce="n1")) == ["mine"]


def test_a_nonce_belongs_to_one_worker(queue: Queue) -> None:
    queue.enqueue("a", "b")
    assert ids(queue.take(nonce="n1", owner="w1")) == ["a"]
    assert ids(queue.take(nonce="n1", owner="w2")) == ["b"]


def test_an_answer_of_nothing_may_change_when_it_is_asked_again(queue: Queue) -> None:
    assert queue.take(nonce="n1") == []
    queue.enqueue("a")
    assert ids(queue.take(nonce="n1")) == ["a"]


def test_ghosts_are_dropped_and_not_revived(queue: Queue, raw: redis.Redis) -> None:
    queue.enqueue("gone", "t1", "no message", "not a hash")
    raw.delete(keys.task("mail", "gone"))
    raw.hdel(keys.task("mail", "no message"), "msg")
    raw.delete(keys.task("mail", "not a hash"))
    raw.set(keys.task("mail", "not a hash"), "x")
    assert ids(queue.take(10)) == ["t1"]
    left = {one.decode().rpartition(":")[2] for one in raw.keys("asynq:{mail}:t:*")}
    assert left == {"t1", "not a hash"}
    assert raw.exists(keys.pending("mail")) == 0
    assert raw.lrange(keys.active("mail"), 0, -1) == [b"t1"]
    assert raw.zrange(keys.lease("mail"), 0, -1) == [b"t1"]


def test_deaths_of_earlier_workers_are_told(queue: Queue, raw: redis.Redis) -> None:
    queue.enqueue("t1")
    raw.hset(keys.task("mail", "t1"), "qd_deaths", 1)
    first = queue.take(nonce="n")
    assert first is not None
    assert first[0].deaths == 1
    assert queue.take(nonce="n") == first


def test_other_fields_of_the_hash_stay(queue: Queue, raw: redis.Redis) -> None:
    queue.enqueue(new("t1", unique="u"))
    raw.hset(keys.task("mail", "t1"), mapping={"result": b"r", "group": b"g"})
    queue.take()
    found = raw.hgetall(keys.task("mail", "t1"))
    assert found[b"result"] == b"r"
    assert found[b"group"] == b"g"
    assert b"unique_key" in found
    assert b"pending_since" not in found


@pytest.mark.parametrize(
    "key",
    [keys.pending("mail"), keys.active("mail"), keys.lease("mail"), keys.fetch("mail", OWNER)],
)
def test_a_key_of_another_type_leaves_everything_untouched(
    queue: Queue, raw: redis.Redis, key: str
) -> None:
    queue.enqueue("t1")
    raw.delete(key)
    raw.hset(key, "something", "else")
    before = snapshot(raw)
    with pytest.raises(BrokerRefused, match="WRONGTYPE"):
        queue.take()
    assert snapshot(raw) == before


def test_a_full_server_can_be_emptied(queue: Queue, server: RedisServer) -> None:
    queue.enqueue("t1")
    with server.configured(maxmemory="1"):
        assert ids(queue.take()) == ["t1"]


def test_what_waits_is_counted_and_none_of_it_while_paused(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    assert link.execute(tasks.arm("mail")) == 0
    queue.enqueue("a", "b")
    assert link.execute(tasks.arm("mail")) == 2
    raw.set(keys.paused("mail"), "1")
    assert link.execute(tasks.arm("mail")) == 0
