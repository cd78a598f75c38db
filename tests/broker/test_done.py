"""done: a task that succeeded leaves nothing but its count and, if it held one, a free lock."""

from __future__ import annotations

import pytest
import redis

from qd.protocol import keys
from qd.protocol.ops.endings import Ending, Fate
from tests.support.builders import DAY, NOW, UNTIL, Queue, held, lock_key, new
from tests.support.snapshot import snapshot

KEPT = NOW + 90 * 24 * 3600


def test_nothing_of_it_stays_but_the_counts(queue: Queue, raw: redis.Redis) -> None:
    some = queue.hold("t1", "t2")
    raw.delete(keys.fetch("mail", "worker-1"))
    assert queue.done(some) == [Fate.OK, Fate.OK]
    assert snapshot(raw) == {
        "asynq:{mail}:processed": b"2",
        f"asynq:{{mail}}:processed:{DAY}": b"2",
    }


def test_counts_of_a_day_are_kept_for_ninety_days(queue: Queue, raw: redis.Redis) -> None:
    queue.done(queue.hold("t1"))
    day = keys.processed_on("mail", DAY)
    assert raw.expiretime(day) == KEPT
    assert raw.ttl(keys.processed("mail")) == -1
    queue.done(queue.hold("t2"), now=NOW + 1000)
    assert raw.expiretime(day) == KEPT


@pytest.mark.parametrize(
    ("before", "after"),
    [(2**63 - 1, 2), (2**63 - 512, 2), (2**63 - 4096, 2**63 - 4094), (0, 2)],
)
def test_the_total_starts_again_when_it_can_grow_no_more(
    queue: Queue, raw: redis.Redis, before: int, after: int
) -> None:
    raw.set(keys.processed("mail"), before)
    assert queue.done(queue.hold("t1", "t2")) == [Fate.OK, Fate.OK]
    assert raw.get(keys.processed("mail")) == str(after).encode()


@pytest.mark.parametrize("key", [keys.processed("mail"), keys.processed_on("mail", DAY)])
@pytest.mark.parametrize("odd", ["text", "list"])
def test_a_broken_counter_keeps_no_task_from_ending(
    queue: Queue, raw: redis.Redis, key: str, odd: str
) -> None:
    if odd == "text":
        raw.set(key, "x")
    else:
        raw.lpush(key, "x")
    assert queue.done(queue.hold("t1")) == [Fate.OK]
    assert raw.exists(keys.task("mail", "t1"), keys.active("mail"), keys.lease("mail")) == 0


def test_its_lock_is_released(queue: Queue, raw: redis.Redis) -> None:
    queue.enqueue(new("t1", unique="u"))
    queue.take()
    assert queue.done([Ending(*held("t1"), unique_key=lock_key("u"))]) == [Fate.OK]
    assert raw.exists(lock_key("u")) == 0


def test_a_lock_that_another_task_holds_is_not_released(queue: Queue, raw: redis.Redis) -> None:
    queue.enqueue(new("t1", unique="u"))
    queue.take()
    raw.set(lock_key("u"), "t2")
    assert queue.done([Ending(*held("t1"), unique_key=lock_key("u"))]) == [Fate.OK]
    assert raw.get(lock_key("u")) == b"t2"


def test_a_lock_key_that_holds_something_else_is_left_alone(queue: Queue, raw: redis.Redis) -> None:
    raw.lpush(lock_key("u"), "t1")
    some = queue.hold("t1", "t2")
    assert queue.done([Ending(some[0], unique_key=lock_key("u")), Ending(some[1])]) == [1, 1]
    assert raw.exists(lock_key("u")) == 1


def test_a_stale_ending_releases_no_lock_and_counts_nothing(queue: Queue, raw: redis.Redis) -> None:
    queue.enqueue(new("t1", unique="u"))
    queue.take()
    late = Ending(*held("t1", until=UNTIL + 1), unique_key=lock_key("u"))
    assert queue.done([late]) == [Fate.STALE]
    assert raw.exists(lock_key("u")) == 1
    assert raw.exists(keys.processed("mail")) == 0


def test_the_same_task_twice_in_a_batch_counts_once(queue: Queue, raw: redis.Redis) -> None:
    some = queue.hold("t1")
    assert queue.done([*some, *some])[0] == Fate.OK
    assert raw.get(keys.processed("mail")) == b"1"
