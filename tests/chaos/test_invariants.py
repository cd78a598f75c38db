"""What may never fall is noticed when it falls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from qd.broker.connect import open_link
from qd.broker.endpoint import parse_addresses
from qd.broker.link import Link
from qd.protocol import codec, keys
from tests.chaos import dump, invariants
from tests.support.builders import NOW, Queue, message, new
from tests.support.servers import RedisServer


@pytest.fixture(scope="module")
def own() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def raw(own: RedisServer) -> Iterator[redis.Redis]:
    with own.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def link(own: RedisServer) -> Iterator[Link]:
    made = open_link(parse_addresses([own.url]))
    yield made
    made.close()


def fallen(raw: redis.Redis, before: dump.Dump) -> list[str]:
    return [breach.partition(":")[0] for breach in invariants.changes(before, dump.read(raw))]


def test_a_lease_that_ends_earlier_than_the_one_before(raw: redis.Redis, link: Link) -> None:
    Queue(link, "mail").hold("t1")
    before = dump.read(raw)
    assert fallen(raw, before) == []
    raw.zincrby(keys.lease("mail"), -1, "t1")
    assert fallen(raw, before) == ["I6"]


@pytest.mark.parametrize("counter", ["processed", "failed", "processed:2026-01-01"])
def test_a_counter(raw: redis.Redis, link: Link, counter: str) -> None:
    Queue(link, "mail").enqueue("t1")
    raw.set(f"asynq:{{mail}}:{counter}", 5)
    before = dump.read(raw)
    raw.incr(f"asynq:{{mail}}:{counter}")
    assert fallen(raw, before) == []
    raw.delete(f"asynq:{{mail}}:{counter}")
    assert fallen(raw, before) == ["I7"]


def test_the_retries_of_a_task(raw: redis.Redis, link: Link) -> None:
    Queue(link, "mail").enqueue(new("t1", retried=3))
    before = dump.read(raw)
    raw.hset(keys.task("mail", "t1"), "msg", message("t1", retried=2))
    assert codec.decode_task(raw.hget(keys.task("mail", "t1"), "msg")).terms.retried == 2  # type: ignore[arg-type]
    assert fallen(raw, before) == ["I8"]


def test_the_last_tick_of_a_ledger(raw: redis.Redis) -> None:
    raw.hset("qd:{mail}:cron:daily", "tick", NOW)
    before = dump.read(raw)
    raw.hset("qd:{mail}:cron:daily", "tick", NOW - 1)
    assert fallen(raw, before) == ["I13"]
