"""Named locks: one owner at a time, for a time."""

from __future__ import annotations

import redis

from qd.broker.link import Link
from qd.protocol import keys
from qd.protocol.ops import locks
from tests.support.wait import eventually


def test_a_lock_has_one_owner(link: Link, raw: redis.Redis) -> None:
    assert link.execute(locks.acquire("a", "me", ttl_ms=60_000)) is True
    assert link.execute(locks.acquire("a", "you", ttl_ms=60_000)) is False
    assert link.execute(locks.acquire("b", "you", ttl_ms=60_000)) is True
    assert raw.get(keys.lock("a")) == b"me"
    assert 59_000 < raw.pttl(keys.lock("a")) <= 60_000


def test_a_lock_ends_by_itself(link: Link) -> None:
    link.execute(locks.acquire("a", "me", ttl_ms=20))
    eventually(lambda: link.execute(locks.acquire("a", "you", ttl_ms=60_000)))
    assert link.execute(locks.release("a", "me")) is False


def test_the_lock_of_one_who_is_known_to_be_dead_can_be_taken(link: Link, raw: redis.Redis) -> None:
    link.execute(locks.acquire("a", "him", ttl_ms=1000))
    assert link.execute(locks.acquire("a", "me", ttl_ms=60_000, dead="her")) is False
    assert link.execute(locks.acquire("a", "me", ttl_ms=60_000, dead="him")) is True
    assert raw.pttl(keys.lock("a")) > 59_000
    assert link.execute(locks.holder("a")) == "me"
    # By the time that another one knew it, it was the lock of somebody else.
    assert link.execute(locks.acquire("a", "you", ttl_ms=60_000, dead="him")) is False
    assert link.execute(locks.release("a", "him")) is False


def test_a_lock_that_nobody_has_has_no_holder(link: Link) -> None:
    assert link.execute(locks.holder("a")) == ""
    assert link.execute(locks.acquire("a", "me", ttl_ms=1000, dead="him")) is True


def test_only_the_owner_can_keep_it_longer(link: Link, raw: redis.Redis) -> None:
    link.execute(locks.acquire("a", "me", ttl_ms=1000))
    assert link.execute(locks.extend("a", "you", ttl_ms=60_000)) is False
    assert raw.pttl(keys.lock("a")) <= 1000
    assert link.execute(locks.extend("a", "me", ttl_ms=60_000)) is True
    assert raw.pttl(keys.lock("a")) > 59_000


def test_only_the_owner_can_give_it_back(link: Link) -> None:
    link.execute(locks.acquire("a", "me", ttl_ms=60_000))
    assert link.execute(locks.release("a", "you")) is False
    assert link.execute(locks.release("a", "me")) is True
    assert link.execute(locks.release("a", "me")) is False
    assert link.execute(locks.extend("a", "me", ttl_ms=1000)) is False
