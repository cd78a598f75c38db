"""Operations of the test kit: what has a time to live has less of it, and scripts go by its clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from msgspec.structs import replace

from qd import clock
from qd.broker.connect import open_link, open_node_link
from qd.broker.endpoint import Endpoint
from qd.broker.link import Link
from qd.protocol import keys
from qd.protocol.ops import kit, limits
from qd.protocol.ops.limits import Bounds, Member
from qd.protocol.timeline import Timeline

AT = 1_900_000_000


@pytest.fixture
def standing() -> Iterator[None]:
    clock.stand_still(AT)
    yield
    clock.go_on()


def test_what_ends_by_itself_is_as_much_nearer_to_its_end(link: Link, raw: redis.Redis) -> None:
    raw.set("kept", "for ever")
    raw.set("an hour", "", ex=3600)
    raw.set("a minute", "", ex=60)
    raw.sadd("a set", "member")
    raw.expire("a set", 3600)
    assert link.execute(kit.move_clock(to=AT, passed=60)) == 1
    assert raw.get("a minute") is None
    assert raw.ttl("kept") == -1
    for name in ("an hour", "a set"):
        assert 3600 - 60 - 30 < raw.ttl(name) <= 3600 - 60
    assert raw.get(keys.CLOCK) == str(AT).encode()
    assert raw.ttl(keys.CLOCK) == -1


def test_to_set_the_clock_changes_nothing_else(link: Link, raw: redis.Redis) -> None:
    raw.set("a second", "", px=1000)
    step = kit.move_clock(to=AT, passed=0)
    assert step.repeatable
    assert link.execute(step) == 0
    assert not kit.move_clock(to=AT, passed=1).repeatable


def test_everything_is_deleted(link: Link, raw: redis.Redis) -> None:
    raw.set("a", "b")
    assert link.execute(kit.empty())
    assert raw.dbsize() == 0


def test_a_pending_task_becomes_the_next(link: Link, raw: redis.Redis) -> None:
    raw.rpush(keys.pending("q"), "c", "b", "a")
    link.execute_many(kit.to_the_head("q", "c"))
    assert raw.lrange(keys.pending("q"), 0, -1) == [b"b", b"a", b"c"]


def test_the_first_score_after_a_moment_is_found(link: Link, raw: redis.Redis) -> None:
    raw.zadd("z", {"a": 10, "b": 20, "c": 30})
    found = [link.execute(kit.first_after("z", at)) for at in (9, 10, 25, 30)]
    assert found == [10, 20, 30, None]
    assert link.execute(kit.first_after("missing", 0)) is None


@pytest.mark.parametrize("timeline", [None, Timeline(3600, 100, "traceparent", "")])
def test_scripts_ask_the_clock_of_the_kit_if_it_stands_still(
    endpoint: Endpoint, raw: redis.Redis, standing: None, timeline: Timeline | None
) -> None:
    link = open_link(replace(endpoint, timeline=timeline))
    bounds = Bounds("sms", 1 / 60, 1, 0)

    def may_start(task: str) -> bool:
        return link.execute(limits.ask(bounds, "me", [Member(task, "")])).answers[0] >= 0

    link.execute(kit.move_clock(to=AT, passed=0))
    assert may_start("a")
    link.execute(kit.move_clock(to=AT + 60, passed=60))
    assert may_start("b")
    assert not may_start("c")
    link.close()


async def test_so_do_those_of_asynchronous_links(endpoint: Endpoint, standing: None) -> None:
    link = open_node_link(endpoint)
    await link.execute(kit.move_clock(to=AT, passed=0))
    assert await link.execute(limits.look(Bounds("sms", 1 / 60, 1, 0))) == (None, [])
    await link.close()
