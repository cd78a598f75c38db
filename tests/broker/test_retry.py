"""retry: a task that failed waits for its next attempt."""

from __future__ import annotations

import redis

from qd.broker.link import Link
from qd.protocol import keys
from qd.protocol.ops import endings, upkeep
from qd.protocol.ops.endings import Ending, Fate
from qd.protocol.state import TaskState
from tests.support.builders import DAY, NOW, OWNER, Queue, held, lock_key, message, new
from tests.support.snapshot import snapshot


def retry(link: Link, *some: Ending) -> list[Fate]:
    return link.execute(endings.retry("mail", OWNER, some, day=DAY, now=NOW))


def test_it_waits_as_asynq_lets_it_wait(queue: Queue, link: Link, raw: redis.Redis) -> None:
    (one,) = queue.hold("t1")
    raw.delete(keys.fetch("mail", OWNER))
    stored = message("t1", retried=1, error="boom", last_failed_at=NOW)
    assert retry(link, Ending(one, message=stored, at=NOW + 8)) == [Fate.OK]
    assert snapshot(raw) == {
        "asynq:{mail}:retry": {"t1": NOW + 8},
        "asynq:{mail}:t:t1": {"msg": stored, "state": b"retry"},
        **{
            f"asynq:{{mail}}:{key}": b"1"
            for key in ("processed", "failed", f"processed:{DAY}", f"failed:{DAY}")
        },
    }
    kept = NOW + 90 * 24 * 3600
    assert raw.expiretime(keys.processed_on("mail", DAY)) == kept
    assert raw.expiretime(keys.failed_on("mail", DAY)) == kept


def test_what_is_no_failure_is_not_counted(queue: Queue, link: Link, raw: redis.Redis) -> None:
    one, two = queue.hold("t1", "t2")
    retry(
        link,
        Ending(one, message=b"m", at=NOW, is_failure=False),
        Ending(two, message=b"m", at=NOW),
    )
    assert raw.get(keys.processed("mail")) == raw.get(keys.failed("mail")) == b"1"
    assert raw.zcard(keys.retry("mail")) == 2


def test_its_lock_is_kept(queue: Queue, link: Link, raw: redis.Redis) -> None:
    queue.enqueue(new("t1", unique="u", ttl=90))
    queue.take()
    retry(link, Ending(*held("t1"), unique_key=lock_key("u"), message=b"m", at=NOW))
    assert raw.get(lock_key("u")) == b"t1"
    assert raw.ttl(lock_key("u")) == 90


def test_it_runs_again_when_its_time_has_come(queue: Queue, link: Link, raw: redis.Redis) -> None:
    one, two = queue.hold("t1", "t2")
    retry(
        link, Ending(one, message=b"1", at=NOW + 8), Ending(two, message=b"2", at=NOW + 9)
    )  # fmt: skip
    now_ns = (NOW + 8) * 1_000_000_000 + 5
    moved = link.execute(upkeep.forward("mail", TaskState.RETRY, now_ns=now_ns, limit=9))
    assert (moved.moved, moved.next_at) == (1, NOW + 9)
    assert raw.hget(keys.task("mail", "t1"), "pending_since") == str(now_ns).encode()
    taken = queue.take(9, nonce="n2")
    assert taken is not None
    assert [one.message for one in taken] == [b"1"]
