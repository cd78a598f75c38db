"""complete: a task that succeeded is kept, with its result, until its retention is over."""

from __future__ import annotations

import redis

from qd.broker.link import Link
from qd.protocol import keys
from qd.protocol.ops import endings, upkeep
from qd.protocol.ops.endings import Ending, Fate
from tests.support.builders import DAY, NOW, OWNER, Queue, held, lock_key, message, new
from tests.support.snapshot import snapshot


def complete(link: Link, *some: Ending) -> list[Fate]:
    return link.execute(endings.complete("mail", OWNER, some, day=DAY, now=NOW))


def test_it_is_kept_as_asynq_keeps_it(queue: Queue, link: Link, raw: redis.Redis) -> None:
    (one,) = queue.hold("t1")
    raw.delete(keys.fetch("mail", OWNER))
    stored = message("t1", completed_at=NOW, retention=60)
    assert complete(link, Ending(one, message=stored, at=NOW + 60, result=b"\x00r")) == [Fate.OK]
    assert snapshot(raw) == {
        "asynq:{mail}:completed": {"t1": NOW + 60},
        "asynq:{mail}:t:t1": {"msg": stored, "state": b"completed", "result": b"\x00r"},
        "asynq:{mail}:processed": b"1",
        f"asynq:{{mail}}:processed:{DAY}": b"1",
    }
    assert raw.expiretime(keys.processed_on("mail", DAY)) == NOW + 90 * 24 * 3600


def test_no_result_leaves_what_the_handler_wrote(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    one, two = queue.hold("t1", "t2")
    link.execute(endings.write_result("mail", OWNER, *held("t1"), b"written"))
    link.execute(endings.write_result("mail", OWNER, *held("t2"), b"written"))
    complete(link, Ending(one, message=b"m", at=NOW), Ending(two, message=b"m", at=NOW, result=b""))
    assert raw.hget(keys.task("mail", "t1"), "result") == b"written"
    assert raw.hget(keys.task("mail", "t2"), "result") == b""


def test_its_lock_is_released_though_its_id_stays_in_use(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    queue.enqueue(new("t1", unique="u"))
    queue.take()
    complete(link, Ending(*held("t1"), unique_key=lock_key("u"), message=b"m", at=NOW + 60))
    assert raw.exists(lock_key("u")) == 0
    refused, accepted = queue.enqueue("t1", new("t2", unique="u"))
    assert refused is not None
    assert refused.state == "completed"
    assert accepted is None


def test_it_is_deleted_when_its_retention_is_over(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    one, two = queue.hold("t1", "t2")
    complete(
        link, Ending(one, message=b"m", at=NOW + 60), Ending(two, message=b"m", at=NOW + 61)
    )  # fmt: skip
    assert link.execute(upkeep.delete_expired_completed("mail", now=NOW + 60, limit=9)) == 1
    assert raw.exists(keys.task("mail", "t1")) == 0
    assert raw.zrange(keys.completed("mail"), 0, -1) == [b"t2"]
