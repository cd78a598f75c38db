"""The store check on a Redis Cluster: each queue where it is, and what stands beside them all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from qd.broker.connect import open_link
from qd.broker.endpoint import parse_addresses
from qd.broker.link import Link
from qd.inspector.doctor.doctor import Doctor, Mended
from qd.protocol import keys
from tests.inspector.damage import SET_ID, message
from tests.inspector.stored import NOW
from tests.support.server_groups import ClusterServers

QUEUES = [f"q{n}" for n in range(6)]


@pytest.fixture
def cluster_link(cluster: ClusterServers) -> Iterator[Link]:
    with closing(open_link(parse_addresses(cluster.addrs))) as link:
        yield link


@pytest.fixture
def raw(cluster: ClusterServers) -> Iterator[Any]:
    with closing(cluster.client()) as client:
        yield client


def test_damage_is_found_and_mended_on_every_node(cluster_link: Link, raw: Any) -> None:
    raw.sadd(keys.QUEUES, *QUEUES)
    raw.zadd(keys.SERVERS, {"asynq:servers:{host:1:x}": NOW - 100})
    for queue in QUEUES:
        raw.lpush(keys.pending(queue), "ghost")
        raw.hset(keys.task(queue, "lost"), mapping={"msg": message("lost"), "state": "retry"})
        raw.set(keys.unique_prefix(queue) + "a:0", "gone")
        raw.set(keys.processed(queue), "many")
        raw.hset(keys.task(queue, "m"), mapping={"msg": message("m"), "state": "aggregating"})
        raw.zadd(keys.aggregation_set(queue, "team", SET_ID), {"m": NOW})
    doctor = Doctor(cluster_link, clock=lambda: float(NOW), between=0.0)
    found = doctor.look().findings
    expected = {"not-a-number", "unlisted-set", "ghost", "unlisted", "leaked-lock"}
    assert {queue: {one.rule for one in found if one.queue == queue} for queue in QUEUES} == (
        dict.fromkeys(QUEUES, expected)
    )
    assert [one.rule for one in found if not one.queue] == ["dead-entries"]
    assert {result for _, result in doctor.mend(found)} == {Mended.REPAIRED}
    assert doctor.look().findings == []
    for queue in QUEUES:
        assert raw.zrange(keys.retry(queue), 0, -1) == [b"lost"]
        assert raw.zrange(keys.group(queue, "team"), 0, -1) == [b"m"]


def test_a_queue_that_is_not_registered_is_found_when_it_is_named(
    cluster_link: Link, raw: Any
) -> None:
    raw.lpush(keys.pending("hidden"), "x")
    raw.hset(keys.task("hidden", "x"), mapping={"msg": message("x"), "state": "pending"})
    doctor = Doctor(cluster_link, clock=lambda: float(NOW), between=0.0)
    assert doctor.look().findings == []
    found = doctor.look(["hidden"]).findings
    assert [one.rule for one in found] == ["unregistered"]
    doctor.mend(found)
    assert raw.smembers(keys.QUEUES) == {b"hidden"}
