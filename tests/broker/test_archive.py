"""archive: a task becomes a dead letter, and the oldest of too many dead letters are deleted."""

from __future__ import annotations

import pytest
import redis

from qd.broker.link import Link
from qd.protocol import constants, keys
from qd.protocol.ops import endings
from qd.protocol.ops.endings import Ending, Fate
from tests.support.builders import DAY, NOW, OWNER, UNTIL, Queue, held, lock_key, message
from tests.support.snapshot import snapshot

OLDEST = NOW - constants.ARCHIVE_MAX_AGE


def archive(link: Link, *some: Ending) -> list[Fate]:
    return link.execute(endings.archive("mail", OWNER, some, day=DAY, now=NOW))


def fill(raw: redis.Redis, count: int, score: int, name: str = "old") -> None:
    """Put archived tasks there, each with its hash."""
    for start in range(0, count, 1000):
        part = range(start, min(start + 1000, count))
        raw.zadd(keys.archived("mail"), {f"{name}{n:05}": score for n in part})
        pipeline = raw.pipeline(transaction=False)
        for n in part:
            pipeline.hset(keys.task("mail", f"{name}{n:05}"), "state", "archived")
        pipeline.execute()


def hashes(raw: redis.Redis) -> int:
    return len(raw.keys("asynq:{mail}:t:*"))


def test_it_is_stored_as_asynq_stores_it(queue: Queue, link: Link, raw: redis.Redis) -> None:
    (one,) = queue.hold("t1")
    raw.delete(keys.fetch("mail", OWNER))
    stored = message("t1", error="boom", last_failed_at=NOW)
    assert archive(link, Ending(one, message=stored)) == [Fate.OK]
    assert snapshot(raw) == {
        "asynq:{mail}:archived": {"t1": NOW},
        "asynq:{mail}:t:t1": {"msg": stored, "state": b"archived"},
        **{
            f"asynq:{{mail}}:{key}": b"1"
            for key in ("processed", "failed", f"processed:{DAY}", f"failed:{DAY}")
        },
    }


def test_bytes_that_nobody_can_read_are_kept(queue: Queue, link: Link, raw: redis.Redis) -> None:
    (one,) = queue.hold("t1")
    raw.hset(keys.task("mail", "t1"), "msg", b"\xff\xff")
    archive(link, Ending(one))
    assert raw.hget(keys.task("mail", "t1"), "msg") == b"\xff\xff"


def test_what_is_older_than_ninety_days_is_deleted(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    fill(raw, 3, OLDEST, "over")
    fill(raw, 2, OLDEST + 1, "young")
    (one,) = queue.hold("t1")
    archive(link, Ending(one, message=b"m"))
    assert raw.zrange(keys.archived("mail"), 0, -1) == [b"young00000", b"young00001", b"t1"]
    assert hashes(raw) == 3


@pytest.mark.parametrize("score", [OLDEST - 1, NOW - 60], ids=["too old", "too many"])
def test_twelve_thousand_dead_letters_are_cut_down_at_once(
    queue: Queue, link: Link, raw: redis.Redis, score: int
) -> None:
    fill(raw, 12_000, score)
    (one,) = queue.hold("t1")
    assert archive(link, Ending(one, message=b"m")) == [Fate.OK]
    left = 1 if score < OLDEST else constants.ARCHIVE_MAX
    assert raw.zcard(keys.archived("mail")) == hashes(raw) == left
    assert raw.zscore(keys.archived("mail"), "t1") == NOW
    assert raw.zscore(keys.archived("mail"), "old00000") is None


def test_a_full_set_of_the_same_second_does_not_push_out_the_new_one(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    """Equal scores are ordered by id, and this id comes first."""
    fill(raw, constants.ARCHIVE_MAX, NOW)
    (one,) = queue.hold("a")
    archive(link, Ending(one, message=b"m"))
    assert raw.zscore(keys.archived("mail"), "a") == NOW
    assert raw.zcard(keys.archived("mail")) == hashes(raw) == constants.ARCHIVE_MAX


def test_what_is_deleted_gives_its_lock_back(queue: Queue, link: Link, raw: redis.Redis) -> None:
    fill(raw, 2, OLDEST)
    raw.set(lock_key("u"), "old00000")
    raw.set(lock_key("v"), "somebody else")
    raw.hset(keys.task("mail", "old00000"), "unique_key", lock_key("u"))
    raw.hset(keys.task("mail", "old00001"), "unique_key", lock_key("v"))
    (one,) = queue.hold("t1")
    archive(link, Ending(one, message=b"m"))
    assert raw.exists(lock_key("u")) == 0
    assert raw.exists(lock_key("v")) == 1


def test_a_task_that_is_alive_elsewhere_is_not_deleted_for_being_listed_here(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    raw.zadd(keys.archived("mail"), {"t1": OLDEST, "t2": OLDEST})
    queue.enqueue("t2")
    taken = queue.take()
    assert taken is not None
    assert archive(link, Ending(*held("t2"), message=b"m")) == [Fate.OK]
    assert raw.hget(keys.task("mail", "t2"), "msg") == b"m"
    assert raw.zrange(keys.archived("mail"), 0, -1) == [b"t2"]


def test_a_stale_ending_deletes_nobody(queue: Queue, link: Link, raw: redis.Redis) -> None:
    fill(raw, constants.ARCHIVE_MAX, NOW - 60)
    queue.hold("t1")
    assert archive(link, Ending(*held("t1", until=UNTIL + 1), message=b"m")) == [Fate.STALE]
    assert raw.zcard(keys.archived("mail")) == constants.ARCHIVE_MAX
