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
