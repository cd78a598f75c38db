"""Limits: tasks that may not start yet stand in line, in nobody's way, and lose nothing by it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from qd.app.workers import limits_of_app, start_worker
from qd.handlers.context import Context
from qd.handlers.task import Task
from qd.maintenance.caller import Caller
from qd.maintenance.counters import Counters
from qd.protocol import keys
from tests.runtime.lab import QUEUE, Lab
from tests.support.wait import aeventually


class Gauge:
    """Counts what runs at the same time, in all and for each value of `tenant`."""

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.order: list[Any] = []
        self.started: list[float] = []
        self.gates: dict[int, asyncio.Event] = {}

    async def run(self, tenant: str, number: int, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self.started.append(loop.time())
        self.order.append(number)
        for name in ("", tenant):
            self.now[name] += 1
            self.most[name] = max(self.most[name], self.now[name])
        await asyncio.sleep(seconds)
        if number in self.gates:
            await self.gates[number].wait()
        for name in ("", tenant):
            self.now[name] -= 1


@pytest.fixture
async def caller(lab: Lab) -> AsyncIterator[list[Caller]]:
    """What a scheduler process does for limits; to be filled by `begin`."""
    callers: list[Caller] = []
    yield callers
    for one in callers:
        await one.stop()


@pytest.fixture
def gauge(lab: Lab) -> Gauge:
    gauge = Gauge()

    @lab.app.task("work")
    async def work(tenant: str = "a", number: int = 0, seconds: float = 0.0) -> None:
        await gauge.run(tenant, number, seconds)

    return gauge


async def begin(lab: Lab, callers: list[Caller]) -> None:
    bounds = [one.bounds for one in limits_of_app(lab.app)]
    one = Caller(lab.app.connection.endpoint, bounds, Counters())
    one.start()
    callers.append(one)
    await lab.start()


async def all_gone(lab: Lab) -> None:
    await aeventually(lambda: not lab.raw.keys("asynq:{q}:t:*"), 30)


def keys_of(lab: Lab, name: str) -> set[str]:
    """What a limit has left in Redis."""
    return {key.decode().rpartition("}:")[2] for key in lab.raw.keys(f"qd:{{limit:{name}}}:*")}


async def test_no_more_run_at_a_time_than_allowed_and_all_run(
    lab: Lab, gauge: Gauge, caller: list[Caller]
) -> None:
    lab.configure(limits={"api": {"concurrency": 3, "types": ["work"]}})
    for number in range(40):
        await lab.enqueue("work", {"number": number, "seconds": 0.005})
    await begin(lab, caller)
    await all_gone(lab)
    assert gauge.most[""] == 3
    assert gauge.order == list(range(40))
    assert not keys_of(lab, "api")


async def test_each_value_of_a_key_has_a_limit_of_its_own(
    lab: Lab, gauge: Gauge, caller: list[Caller]
) -> None:
    lab.configure(
        limits={"tenant": {"concurrency": 2, "types": ["wo*"], "key": "payload.tenant"}},
        worker={"concurrency": 20},
    )
    for number in range(30):
        tenant = "abc"[number % 3]
        await lab.enqueue("work", {"number": number, "tenant": tenant, "seconds": 0.02})
    await begin(lab, caller)
    await all_gone(lab)
    assert [gauge.most[tenant] for tenant in "abc"] == [2, 2, 2]
    assert gauge.most[""] == 6
    for tenant in range(3):
        assert [n for n in gauge.order if n % 3 == tenant] == list(range(tenant, 30, 3))


async def test_those_who_wait_take_turns(lab: Lab, gauge: Gauge, caller: list[Caller]) -> None:
    lab.configure(
        limits={"fair": {"concurrency": 1, "queues": [QUEUE], "fair_by": "payload.tenant"}},
    )
    for number in range(40):
        await lab.enqueue("work", {"number": number, "tenant": "large", "seconds": 0.01})
    for number in range(40, 48):
        tenant = "ab"[number % 2]
        await lab.enqueue("work", {"number": number, "tenant": tenant, "seconds": 0.01})
    await begin(lab, caller)
    await all_gone(lab)
    # One of each, as soon as all stand in line.
    small = [gauge.order.index(number) for number in range(40, 48)]
    assert max(small) < 40 - 1
    for tenant in (range(40), range(40, 48, 2), range(41, 48, 2)):
        assert [n for n in gauge.order if n in tenant] == list(tenant)
    assert not keys_of(lab, "fair")


async def note_lags(lags: list[float]) -> None:
    """Note by how much the loop comes late, again and again."""
    while True:
        due = time.monotonic() + 0.002
        await asyncio.sleep(0.002)
        lags.append(time.monotonic() - due)


async def test_a_rate_is_never_exceeded_and_kept_up(
    lab: Lab, gauge: Gauge, caller: list[Caller]
) -> None:
    lab.configure(limits={"api": {"rate": "50/s", "burst": 5, "queues": [QUEUE]}})
    for number in range(60):
        await lab.enqueue("work", {"number": number})
    lags: list[float] = []
    watching = asyncio.ensure_future(note_lags(lags))
    await begin(lab, caller)
    await all_gone(lab)
    watching.cancel()
    assert sorted(gauge.order) == list(range(60))
    # A process that was held up for longer than a start may be late asks anew for those it has missed.
    if max(lags) < 0.01:
        assert gauge.order == list(range(60))
    # Where tasks start late, more than the rate may fall into a window, but not less overall.
    assert gauge.started[-1] - gauge.started[0] > 54 / 50
    assert keys_of(lab, "api") <= {"next:"}


async def test_a_task_that_waits_is_a_scheduled_one_and_says_what_for(
    lab: Lab, gauge: Gauge, caller: list[Caller]
) -> None:
    lab.configure(limits={"api": {"concurrency": 1, "types": ["work"], "per": "queue"}})
    await begin(lab, caller)
    first = await lab.enqueue("work", {"seconds": 30})
    second = await lab.enqueue("work")
    await aeventually(lambda: lab.state(second.id) == "scheduled")
    assert lab.state(first.id) == "active"
    assert lab.raw.hget(keys.task(QUEUE, second.id), "qd_waits") == b'["limit","api","q"]'
    assert lab.message(second.id).terms.retried == 0
    assert lab.raw.get(keys.failed(QUEUE)) is None


async def test_other_types_pass_those_that_wait(
    lab: Lab, gauge: Gauge, caller: list[Caller]
) -> None:
    lab.configure(limits={"api": {"concurrency": 1}}, worker={"concurrency": 2})
    done: list[int] = []

    @lab.app.task("slow", limit="api")
    async def slow() -> None:
        await asyncio.sleep(30)

    @lab.app.task("quick")
    async def quick(number: int) -> None:
        done.append(number)

    for _ in range(30):
        await lab.enqueue("slow")
    for number in range(10):
        await lab.enqueue("quick", {"number": number})
    await begin(lab, caller)
    await aeventually(lambda: len(done) == 10)
    assert done == list(range(10))


async def test_a_task_that_is_taken_again_has_its_slot(
    lab: Lab, gauge: Gauge, caller: list[Caller]
) -> None:
    lab.configure(limits={"api": {"concurrency": 1, "types": ["work"]}})
    await begin(lab, caller)
    first = await lab.enqueue("work", {"number": 1, "seconds": 30})
    await aeventually(lambda: gauge.order == [1])
    second = await lab.enqueue("work", {"number": 2})
    await aeventually(lambda: lab.state(second.id) == "scheduled")
    await lab.stop(0)
    assert lab.state(first.id) == "pending"
    other = await start_worker(lab.app, lab.app.connection.endpoint)
    try:
        await aeventually(lambda: gauge.order == [1, 1])
        assert lab.state(second.id) == "scheduled"
    finally:
        await other.stop(0)


async def test_what_waits_in_a_paused_queue_makes_way_for_others(
    lab: Lab, gauge: Gauge, caller: list[Caller]
) -> None:
    lab.configure(
        queues={QUEUE: 1, "other": 1}, limits={"api": {"concurrency": 1, "types": ["work"]}}
    )
    await begin(lab, caller)
    gauge.gates[1] = asyncio.Event()
    await lab.enqueue("work", {"number": 1})
    await aeventually(lambda: gauge.order == [1])
    held_up = await lab.enqueue("work", {"number": 2}, queue="other")
    await aeventually(lambda: lab.state(held_up.id, "other") == "scheduled")
    behind = await lab.enqueue("work", {"number": 3})
    await aeventually(lambda: lab.state(behind.id) == "scheduled")
    lab.app.inspector().queues.pause("other")
    gauge.gates[1].set()
    await aeventually(lambda: gauge.order == [1, 3])


async def test_a_caller_that_dies_is_made_up_for_by_the_scheduler(
    lab: Lab, gauge: Gauge, caller: list[Caller]
) -> None:
    lab.configure(limits={"api": {"concurrency": 1, "types": ["work"]}})
    await begin(lab, caller)
    first = await lab.enqueue("work", {"number": 1, "seconds": 30})
    await aeventually(lambda: gauge.order == [1])
    second = await lab.enqueue("work", {"number": 2})
    await aeventually(lambda: lab.state(second.id) == "scheduled")
    await lab.stop(0)
    # As if the slot had been given to the next, and nobody had lived to tell it.
    lab.app.inspector().tasks.delete(QUEUE, first.id)
    name, member = "qd:{limit:api}:", keys.task(QUEUE, first.id)
    lab.raw.zrem(name + "in:", member)
    lab.raw.hdel(name + "held", member)
    lab.raw.zadd(name + "called:", {keys.task(QUEUE, second.id): 1})
    lab.raw.zadd(name + "due", {"": 1})
    await lab.start()
    await aeventually(lambda: gauge.order == [1, 2])


async def test_a_task_under_two_limits_waits_for_both(
    lab: Lab, gauge: Gauge, caller: list[Caller]
) -> None:
    lab.configure(
        limits={
            "many": {"concurrency": 4, "types": ["work"]},
            "few": {"concurrency": 2, "types": ["work"], "key": "payload.tenant"},
        },
        worker={"concurrency": 20},
    )
    for number in range(40):
        tenant = "abcd"[number % 4]
        await lab.enqueue("work", {"number": number, "tenant": tenant, "seconds": 0.01})
    await begin(lab, caller)
    await all_gone(lab)
    assert gauge.most[""] <= 4
    assert max(gauge.most[tenant] for tenant in "abcd") <= 2
    assert sorted(gauge.order) == list(range(40))
    assert not keys_of(lab, "many") | keys_of(lab, "few")


async def test_a_failure_frees_the_slot(lab: Lab, caller: list[Caller]) -> None:
    lab.configure(limits={"api": {"concurrency": 1}})
    tries: list[str] = []

    @lab.app.task("work", limit=["api"], retry=lambda *_: 60.0)
    async def work(ctx: Context) -> None:
        tries.append(ctx.task_id)
        raise LookupError

    await begin(lab, caller)
    infos = [await lab.enqueue("work") for _ in range(3)]
    await aeventually(lambda: len(tries) == 3)
    assert tries == [info.id for info in infos]


async def test_a_payload_nobody_can_read_holds_up_no_other_under_a_limit(lab: Lab) -> None:
    lab.configure(limits={"tenant": {"concurrency": 5, "types": ["work"], "key": "payload.tenant"}})

    @lab.app.task("work")
    async def work(task: Task) -> None: ...

    lab.store("deep", payload=b"[" * 100_000)
    lab.store("other")
    await lab.start()
    assert await lab.settled("deep") == ""
    assert await lab.settled("other") == ""
