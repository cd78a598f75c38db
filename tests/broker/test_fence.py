"""Whoever does not hold a task can neither end nor extend it: the same for every such operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis

from qd.broker.link import Link
from qd.errors import BrokerRefused
from qd.protocol import keys
from qd.protocol.op import Op
from qd.protocol.ops import endings
from qd.protocol.ops.endings import Ending, Fate, Held
from tests.support.builders import DAY, NOW, NOW_NS, OWNER, UNTIL, Queue, held, message
from tests.support.servers import RedisServer
from tests.support.snapshot import changes, snapshot

Build = Callable[[str, Sequence[Held]], Op[list[Fate]]]


def _ending(one: Held) -> Ending:
    return Ending(one, message=message(one.id, error="boom"), at=NOW + 60)


def _end(operation: Callable[..., Op[list[Fate]]]) -> Build:
    return lambda owner, some: operation(
        "mail", owner, [_ending(one) for one in some], day=DAY, now=NOW
    )


OPERATIONS: dict[str, Build] = {
    "done": _end(endings.done),
    "complete": _end(endings.complete),
    "retry": _end(endings.retry),
    "archive": _end(endings.archive),
    "requeue": lambda owner, some: endings.requeue("mail", owner, some, now_ns=NOW_NS),
    "extend": lambda owner, some: endings.extend("mail", owner, some, lease_until=UNTIL + 5),
}
ENDINGS = [name for name in OPERATIONS if name != "extend"]


@pytest.fixture(params=OPERATIONS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def build(name: str) -> Build:
    return OPERATIONS[name]


@pytest.fixture
def refused(link: Link, raw: redis.Redis, build: Build) -> Callable[..., list[Fate]]:
    """Carry out the operation and check that it has changed nothing."""

    def run(owner: str, some: Sequence[Held]) -> list[Fate]:
        before = snapshot(raw)
        fates = link.execute(build(owner, some))
        # An archive makes room first, and so touches nothing here either.
        assert changes(before, snapshot(raw)) == {}
        return fates

    return run


def test_the_holder_may(queue: Queue, link: Link, build: Build) -> None:
    assert link.execute(build(OWNER, queue.hold("t1"))) == [Fate.OK]


def test_another_owner_may_not(queue: Queue, refused: Any) -> None:
    assert refused("worker-2", queue.hold("t1")) == [Fate.STALE]


def test_nobody_may_not(queue: Queue, refused: Any) -> None:
    assert refused("", queue.hold("t1")) == [Fate.STALE]


@pytest.mark.parametrize("score", [UNTIL - 1, UNTIL + 1, UNTIL + 30])
def test_a_lease_with_another_end_is_another_lease(
    queue: Queue, raw: redis.Redis, refused: Any, score: int
) -> None:
    """A Go server that takes a task over leaves the field of the owner before it in place."""
    some = queue.hold("t1")
    raw.zadd(keys.lease("mail"), {"t1": score})
    assert refused(OWNER, some) == [Fate.STALE]


@pytest.mark.parametrize("score", [UNTIL - 5, UNTIL, UNTIL + 5])
def test_every_end_the_holder_may_have_written_is_its_own(
    queue: Queue, link: Link, raw: redis.Redis, build: Build, score: int
) -> None:
    queue.hold("t1")
    raw.zadd(keys.lease("mail"), {"t1": score})
    assert link.execute(build(OWNER, [Held("t1", UNTIL - 5, UNTIL + 5)])) == [Fate.OK]


def test_a_lost_lease_does_not_lose_the_task(
    queue: Queue, link: Link, raw: redis.Redis, build: Build
) -> None:
    some = queue.hold("t1")
    raw.delete(keys.lease("mail"))
    assert link.execute(build(OWNER, some)) == [Fate.OK]


def test_a_task_that_no_longer_exists_is_gone(queue: Queue, raw: redis.Redis, refused: Any) -> None:
    some = queue.hold("t1")
    raw.delete(keys.task("mail", "t1"))
    assert refused(OWNER, some) == [Fate.GONE]


def test_a_task_in_another_state_is_somebody_elses(
    queue: Queue, raw: redis.Redis, refused: Any
) -> None:
    some = queue.hold("t1")
    raw.hset(keys.task("mail", "t1"), "state", "pending")
    assert refused(OWNER, some) == [Fate.STALE]


def test_what_a_go_server_has_retried_and_run_again_is_somebody_elses(
    queue: Queue, raw: redis.Redis, refused: Any
) -> None:
    """The recoverer of a Go server gave it to another Go server, all by asynq's own scripts."""
    some = queue.hold("t1")
    raw.zrem(keys.lease("mail"), "t1")
    raw.zadd(keys.lease("mail"), {"t1": UNTIL + 90})
    assert refused(OWNER, some) == [Fate.STALE]


@pytest.mark.parametrize("name", ENDINGS, indirect=False)
def test_an_ending_that_is_sent_twice_is_done_once(
    queue: Queue, link: Link, raw: redis.Redis, name: str
) -> None:
    some = queue.hold("t1")
    build = OPERATIONS[name]
    assert link.execute(build(OWNER, some)) == [Fate.OK]
    before = snapshot(raw)
    assert link.execute(build(OWNER, some)) in ([Fate.GONE], [Fate.STALE])
    assert snapshot(raw) == before


@pytest.mark.parametrize("name", ENDINGS, indirect=False)
def test_a_task_that_is_not_in_the_active_list_is_somebody_elses(
    queue: Queue, link: Link, raw: redis.Redis, name: str
) -> None:
    some = queue.hold("t1")
    raw.delete(keys.active("mail"))
    before = snapshot(raw)
    assert link.execute(OPERATIONS[name](OWNER, some)) == [Fate.STALE]
    assert snapshot(raw) == before


def test_each_task_of_a_batch_is_judged_by_itself(
    queue: Queue, link: Link, raw: redis.Redis, build: Build
) -> None:
    queue.hold("mine 1", "gone", "odd", "stale", "mine 2")
    raw.delete(keys.task("mail", "gone"), keys.task("mail", "odd"))
    raw.set(keys.task("mail", "odd"), "not a hash")
    raw.hset(keys.task("mail", "stale"), "qd_owner", "worker-2")
    some = held("mine 1", "gone", "odd", "stale", "mine 2")
    assert link.execute(build(OWNER, some)) == [
        Fate.OK,
        Fate.GONE,
        Fate.STALE,
        Fate.STALE,
        Fate.OK,
    ]
    assert raw.hget(keys.task("mail", "stale"), "qd_owner") == b"worker-2"


@pytest.mark.parametrize("name", ENDINGS, indirect=False)
def test_the_tasks_of_a_batch_leave_the_active_list_wherever_they_stand(
    queue: Queue, link: Link, raw: redis.Redis, name: str
) -> None:
    queue.hold(*(f"t{n}" for n in range(600)))
    some = held("t0", "t599", "t300")
    assert link.execute(OPERATIONS[name](OWNER, some)) == [Fate.OK] * 3
    assert raw.llen(keys.active("mail")) == raw.zcard(keys.lease("mail")) == 597


def test_a_key_of_another_type_leaves_everything_untouched(
    queue: Queue, link: Link, raw: redis.Redis, name: str
) -> None:
    operation = OPERATIONS[name](OWNER, queue.hold("t1"))
    checked = [key for key in operation.keys if "processed" not in key and "failed" not in key]
    for key in checked:
        copy = raw.dump(key)
        raw.delete(key)
        raw.set(key, "something else")
        before = snapshot(raw)
        with pytest.raises(BrokerRefused, match="WRONGTYPE"):
            link.execute(operation)
        assert snapshot(raw) == before
        raw.delete(key)
        if copy is not None:
            raw.restore(key, 0, copy)
    assert link.execute(operation) == [Fate.OK]


def test_a_full_server_is_no_obstacle(
    queue: Queue, link: Link, server: RedisServer, build: Build
) -> None:
    some = queue.hold("t1")
    with server.configured(maxmemory="1"):
        assert link.execute(build(OWNER, some)) == [Fate.OK]
