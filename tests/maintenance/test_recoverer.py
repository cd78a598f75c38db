"""The recoverer: nothing that was taken is ever lost, whoever took it and however it vanished."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from qd import clock
from qd.errors import BrokerUnavailable
from qd.handlers.handler import make_handler
from qd.handlers.retries import RetryRules
from qd.handlers.routing import Router
from qd.maintenance.counters import Counters
from qd.maintenance.recoverer import Recoverer
from qd.protocol import constants, keys
from qd.protocol.ops import endings, groups
from qd.protocol.ops.endings import Ending, Fate, Held
from tests.maintenance.lab import Lab, rules
from tests.support.servers import RedisServer
from tests.support.wait import aeventually

NOW = float(int(time.time()))
DAY = datetime.fromtimestamp(NOW, UTC).strftime("%Y-%m-%d")


def recoverer(lab: Lab, *queues: str, by: RetryRules | None = None) -> Recoverer:
    return Recoverer(lab.link, queues or ("q",), by or rules(), interval=2.0, counts=Counters())


async def test_a_task_of_a_lost_worker_goes_to_the_head_of_the_line_without_a_retry_charged(
    lab: Lab,
) -> None:
    first, second = await lab.pending(), await lab.pending()
    await lab.take(lease_until=NOW)
    waiting = await lab.pending()
    await recoverer(lab).step(NOW)
    assert lab.state(first) == lab.state(second) == "pending"
    assert lab.ids("pending") == [waiting, second, first]
    assert lab.message(first).terms.retried == 0
    assert lab.field(first, "qd_deaths") is None, "the first loss is forgiven"
    assert lab.field(first, "qd_owner") is None
    assert lab.raw.get(keys.failed("q")) is None


async def test_a_lease_that_still_runs_is_left_alone(lab: Lab) -> None:
    task_id = await lab.pending()
    await lab.take(lease_until=NOW + 1)
    await recoverer(lab).step(NOW)
    assert lab.state(task_id) == "active"


async def test_a_task_that_outlives_too_many_workers_is_archived_and_says_why(lab: Lab) -> None:
    task_id = await lab.pending()
    loop = recoverer(lab)
    for _ in range(1 + constants.POISON_DEATHS_IN_COMPANY):
        assert lab.state(task_id) == "pending"
        await lab.take(lease_until=NOW)
        await loop.step(NOW)
    assert lab.state(task_id) == "archived"
    message = lab.message(task_id)
    assert message.terms.error == "asynq: task lease expired: 5 workers were lost with it"
    assert message.terms.last_failed_at == NOW
    assert message.terms.retried == 0
    assert lab.raw.get(keys.processed_on("q", DAY)) == lab.raw.get(keys.failed("q")) == b"1"


async def test_a_worker_that_finishes_late_changes_nothing(lab: Lab) -> None:
    task_id = await lab.pending()
    await lab.take(owner="late", lease_until=NOW)
    await recoverer(lab).step(NOW)
    late = Ending(Held(task_id, int(NOW), int(NOW)))
    step = endings.done("q", "late", [late], day=DAY, now=int(NOW))
    assert await lab.link.execute(step) == [Fate.STALE]
    assert lab.state(task_id) == "pending"
    await lab.take(owner="next", lease_until=NOW + 15)
    assert await lab.link.execute(step) == [Fate.STALE]
    assert lab.state(task_id) == "active"


async def test_a_lease_renewed_after_it_was_listed_is_not_taken_away(lab: Lab) -> None:
    """Between the listing and the step that takes back, the worker found its way to Redis."""
    task_id = await lab.pending()
    await lab.take(owner="slow", lease_until=NOW)
    await recover_with(lab, lambda: lab.raw.zadd(keys.lease("q"), {task_id: NOW + 15}))
    assert lab.state(task_id) == "active"
    assert lab.field(task_id, "qd_deaths") is None


async def test_a_lease_that_vanished_after_it_was_listed_is_no_expired_one(lab: Lab) -> None:
    task_id = await lab.pending()
    await lab.take(owner="slow", lease_until=NOW)
    await recover_with(lab, lambda: lab.raw.zrem(keys.lease("q"), task_id))
    assert lab.places(task_id) == ["active"]
    assert lab.field(task_id, "qd_deaths") is None


async def recover_with(lab: Lab, between: Callable[[], object]) -> None:
    """One step, with something happening between the listing and what follows from it."""
    stalled = Stalled(lab, between)
    loop = Recoverer(stalled, ["q"], rules(), interval=2.0, counts=Counters())  # type: ignore[arg-type]
    await loop.step(NOW)
    assert stalled.reached


class Stalled:
    """The lab's link, with something happening between the listing and what follows."""

    def __init__(self, lab: Lab, between: Callable[[], object]) -> None:
        self._link = lab.link
        self._between = between
        self.reached = False
        self.one_node = lab.link.one_node

    async def execute(self, op):  # type: ignore[no-untyped-def]
        return await self._link.execute(op)

    async def execute_many(self, ops):  # type: ignore[no-untyped-def]
        return await self._link.execute_many(ops)

    async def execute_each(self, ops):  # type: ignore[no-untyped-def]
        self._between()
        self.reached = True
        return await self._link.execute_each(ops)


async def test_a_task_a_go_server_lost_is_retried_after_its_grace_as_a_failed_attempt(
    lab: Lab,
) -> None:
    task_id = await lab.held_by_go(NOW)
    loop = recoverer(lab, by=rules(policy="fixed", initial=20.5))
    await loop.step(NOW + constants.FOREIGN_LEASE_GRACE - 1)
    assert lab.state(task_id) == "active"
    now = NOW + constants.FOREIGN_LEASE_GRACE
    await loop.step(now)
    assert lab.state(task_id) == "retry"
    terms = lab.message(task_id).terms
    assert (terms.retried, terms.error) == (1, "asynq: task lease expired")
    assert terms.last_failed_at == now
    assert lab.raw.zscore(keys.retry("q"), task_id) == now + 21
    assert lab.raw.get(keys.failed("q")) == lab.raw.get(keys.processed("q")) == b"1"


async def test_a_task_a_go_server_lost_on_its_last_attempt_is_archived(lab: Lab) -> None:
    task_id = await lab.held_by_go(NOW - 30, max_retry=3, retried=3)
    await recoverer(lab).step(NOW)
    assert lab.state(task_id) == "archived"
    terms = lab.message(task_id).terms
    assert (terms.retried, terms.error) == (3, "asynq: task lease expired")


async def test_the_handlers_own_rule_sets_the_delay_and_a_broken_one_loses_no_task(
    lab: Lab,
) -> None:
    router = Router()
    router.add(make_handler("own", lambda: None, retry=lambda retried, error, task: 7.0))
    router.add(make_handler("broken", lambda: None, retry=lambda retried, error, task: 1 / 0))
    own = await lab.held_by_go(NOW - 30, type="own")
    broken = await lab.held_by_go(NOW - 30, type="broken")
    await recoverer(lab, by=rules(router)).step(NOW)
    assert lab.raw.zscore(keys.retry("q"), own) == NOW + 7
    assert lab.raw.zscore(keys.retry("q"), broken) == NOW + 60


async def test_go_leases_in_their_grace_do_not_hide_those_of_lost_workers(lab: Lab) -> None:
    go = [await lab.held_by_go(NOW - 20) for _ in range(250)]
    task_id = await lab.pending()
    await lab.take(lease_until=NOW)
    await recoverer(lab).step(NOW)
    assert lab.state(task_id) == "pending"
    assert lab.state(go[0]) == "active"


async def test_more_tasks_than_one_slice_are_all_recovered_in_one_step(lab: Lab) -> None:
    ids = [await lab.pending() for _ in range(230)]
    await lab.take(lease_until=NOW, count=230)
    await recoverer(lab).step(NOW)
    assert sorted(lab.ids("pending")) == sorted(ids)
    assert lab.ids("lease") == lab.ids("active") == []


async def test_an_active_id_without_a_task_is_forgotten(lab: Lab) -> None:
    gone, empty, odd = [await lab.pending() for _ in range(3)]
    await lab.take(lease_until=NOW)
    lab.raw.delete(keys.task("q", gone), keys.task("q", odd))
    lab.raw.hdel(keys.task("q", empty), "msg")
    lab.raw.set(keys.task("q", odd), "a string")
    await recoverer(lab).step(NOW + 30)
    assert lab.state(gone) is lab.state(empty) is None
    assert lab.places(odd) == []


@pytest.mark.parametrize("owner", ["qd", "go"])
async def test_a_message_nobody_can_read_is_archived_as_it_is_and_holds_up_no_other(
    lab: Lab, owner: str
) -> None:
    if owner == "qd":
        bad, good = await lab.pending(), await lab.pending()
        await lab.take(lease_until=NOW - 30)
    else:
        bad, good = await lab.held_by_go(NOW - 30), await lab.held_by_go(NOW - 30)
    lab.raw.hset(keys.task("q", bad), "msg", b"\xff\xff")
    await recoverer(lab).step(NOW)
    assert lab.state(bad) == "archived"
    assert lab.field(bad, "msg") == b"\xff\xff"
    assert lab.state(good) == ("pending" if owner == "qd" else "retry")


async def test_a_queue_whose_keys_are_broken_holds_up_no_other(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    await lab.pending("broken")
    await lab.take("broken", lease_until=NOW)
    lab.raw.set(keys.pending("broken"), "a string")
    task_id = await lab.pending("fine")
    await lab.take("fine", lease_until=NOW)
    loop = recoverer(lab, "broken", "fine")
    await loop.step(NOW)
    await loop.step(NOW)
    assert lab.state(task_id, "fine") == "pending"
    assert len([one for one in caplog.records if one.getMessage().startswith("broken is")]) == 1


async def test_an_active_task_without_a_lease_is_recovered_once_it_was_seen_twice(
    lab: Lab,
) -> None:
    own, other = await lab.pending(), await lab.held_by_go(NOW + 15)
    await lab.take(lease_until=NOW + 15)
    lab.raw.delete(keys.lease("q"))
    loop = recoverer(lab)
    for second in range(0, 30, 2):
        await loop.step(NOW + second)
    assert lab.places(own) == lab.places(other) == ["active"]
    await loop.step(NOW + 30)
    assert lab.state(own) == "pending"
    assert lab.state(other) == "retry"


async def test_what_a_full_server_has_lost_sight_of_is_recovered_as_well(
    lab: Lab, server: RedisServer
) -> None:
    task_id = await lab.pending()
    await lab.take(lease_until=NOW + 15)
    lab.raw.delete(keys.lease("q"))
    loop = recoverer(lab)
    with server.configured(maxmemory="1"):
        for second in range(0, 32, 2):
            await loop.step(NOW + second)
    assert lab.state(task_id) == "pending"


async def test_a_lease_that_comes_back_between_two_looks_is_kept(lab: Lab) -> None:
    task_id = await lab.pending()
    await lab.take(owner="w1", lease_until=NOW + 15)
    lab.raw.delete(keys.lease("q"))
    loop = recoverer(lab)
    await loop.step(NOW)
    renewed = int(NOW) + 45
    step = endings.extend("q", "w1", [Held(task_id, 0, renewed)], lease_until=renewed)
    assert await lab.link.execute(step) == [Fate.OK]
    for second in range(2, 32, 2):
        await loop.step(NOW + second)
    assert lab.state(task_id) == "active"


async def test_leases_that_ran_out_while_redis_was_away_wait_for_their_holders(
    lab: Lab, server: RedisServer
) -> None:
    """A worker that lives renews within five seconds; who is not back by then is gone."""
    lives, lost = await lab.pending(), await lab.pending()
    await lab.take(owner="lives", lease_until=NOW + 15, count=1)
    await lab.take(owner="lost", lease_until=NOW + 15, count=1)
    loop = recoverer(lab)
    await loop.step(NOW)
    server.pause()
    try:
        with pytest.raises(BrokerUnavailable):
            await loop.step(NOW + 2)
    finally:
        server.resume()
    back = NOW + 30
    await loop.step(back)
    assert lab.state(lives) == lab.state(lost) == "active"
    renewed = int(back) + 15
    step = endings.extend("q", "lives", [Held(lives, 0, renewed)], lease_until=renewed)
    assert await lab.link.execute(step) == [Fate.OK]
    for second in (2, 4, 6):
        assert lab.state(lost) == "active"
        await loop.step(back + second)
    assert lab.state(lost) == "pending"
    assert lab.state(lives) == "active"


async def test_a_host_whose_clock_is_fast_takes_no_leases_away(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives, lost = await lab.pending(), await lab.pending()
    right = time.time()
    await lab.take(lease_until=right + 15, count=1)
    await lab.take(lease_until=right - 1, count=1)
    monkeypatch.setattr(clock, "now", lambda: right + 3600)
    await recoverer(lab)._look()
    assert lab.state(lives) == "active"
    assert lab.state(lost) == "pending"


async def test_a_recoverer_that_has_just_started_does_not_judge_leases(lab: Lab) -> None:
    """Redis may be back only now; what is proven needs no lease, see test_neighbours.py."""
    task_id = await lab.pending()
    loop = recoverer(lab)
    await lab.take(lease_until=time.time() - 1)
    lab.raw.config_resetstat()
    loop.start()
    try:
        # Its look is over when it has asked for what aggregators left behind.
        await aeventually(lambda: lab.calls().get("evalsha", 0) + lab.calls().get("eval", 0) > 0)
        assert lab.state(task_id) == "active"
        assert await aeventually(lambda: lab.state(task_id) == "pending", within=20)
    finally:
        await loop.stop()


async def test_a_set_its_aggregator_did_not_finish_goes_back_and_its_group_is_listed_again(
    lab: Lab,
) -> None:
    ids = [await lab.grouped("a:b", NOW - 100) for _ in range(3)]
    step = groups.check("q", "a:b", "set", max_size=0, max_delay=0, grace=60, now=int(NOW))
    assert await lab.link.execute(step) == 3
    lab.raw.zadd(keys.aggregation_sets("q"), {"no set of this queue": NOW})
    loop = recoverer(lab)
    await loop.step(NOW + constants.AGGREGATION_TIMEOUT - 1)
    assert lab.raw.exists(keys.group("q", "a:b")) == 0
    await loop.step(NOW + constants.AGGREGATION_TIMEOUT)
    back = lab.raw.zrange(keys.group("q", "a:b"), 0, -1)
    assert sorted(back) == sorted(one.encode() for one in ids)
    assert lab.raw.smembers(keys.groups("q")) == {b"a:b"}
    assert lab.raw.exists(keys.aggregation_sets("q")) == 0
