"""write_result: a running task stores what it has to say so far."""

from __future__ import annotations

import pytest
import redis

from qd.broker.link import Link
from qd.errors import BrokerRefused
from qd.protocol import keys
from qd.protocol.ops import endings
from qd.protocol.ops.endings import Fate, Held
from tests.support.builders import OWNER, UNTIL, Queue
from tests.support.snapshot import changes, snapshot


def write(link: Link, result: bytes, owner: str = OWNER, until: int = UNTIL) -> Fate:
    return link.execute(endings.write_result("mail", owner, Held("t1", until, until), result))


def test_the_last_result_counts_and_nothing_else_changes(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    queue.hold("t1")
    before = snapshot(raw)
    assert write(link, b"first") is Fate.OK
    assert write(link, b"\x00\xff") is Fate.OK
    after = snapshot(raw)
    assert changes(before, after).keys() == {"asynq:{mail}:t:t1"}
    assert after["asynq:{mail}:t:t1"]["result"] == b"\x00\xff"


def test_who_does_not_hold_the_task_writes_nothing(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    queue.hold("t1")
    before = snapshot(raw)
    assert write(link, b"r", owner="worker-2") is Fate.STALE
    raw.hset(keys.task("mail", "t1"), "state", "pending")
    assert write(link, b"r") is Fate.STALE
    raw.hset(keys.task("mail", "t1"), "state", "active")
    assert snapshot(raw) == before


def test_a_lease_that_somebody_else_wrote_lets_nothing_be_written(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    """A Go server that took the task over leaves the field of the owner before it in place."""
    queue.hold("t1")
    raw.zadd(keys.lease("mail"), {"t1": UNTIL + 15})
    before = snapshot(raw)
    assert write(link, b"r") is Fate.STALE
    assert snapshot(raw) == before
    assert write(link, b"r", until=UNTIL + 15) is Fate.OK


def test_a_task_that_no_longer_exists_is_not_revived(link: Link, raw: redis.Redis) -> None:
    assert write(link, b"r") is Fate.GONE
    assert snapshot(raw) == {}


def test_a_key_of_another_type_is_refused(link: Link, raw: redis.Redis) -> None:
    raw.set(keys.task("mail", "t1"), "not a hash")
    with pytest.raises(BrokerRefused, match="WRONGTYPE"):
        write(link, b"r")
