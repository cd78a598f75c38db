"""Leases last by the clock of Redis, and are renewed whatever else is wrong."""

from __future__ import annotations

import asyncio
import time

import pytest

from qd import clock
from qd.protocol import keys
from qd.protocol.constants import LEASE
from tests.chaos.relay import Loss, Relay
from tests.runtime.lab import QUEUE, Lab, soon
from tests.support.servers import RedisServer
from tests.support.wait import aeventually


@pytest.mark.parametrize("wrong_by", [-3600.0, 3600.0])
@pytest.mark.parametrize("when", ["from the start", "while it works"])
async def test_a_lease_ends_by_the_clock_of_redis_whatever_the_time_is_here(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, wrong_by: float, when: str
) -> None:
    started, go = asyncio.Event(), asyncio.Event()
    right = time.time

    @lab.app.task("work")
    async def work() -> None:
        started.set()
        await go.wait()

    def set_clock() -> None:
        monkeypatch.setattr(clock, "now", lambda: right() + wrong_by)
        monkeypatch.setattr(clock, "now_ns", lambda: int((right() + wrong_by) * 10**9))
        monkeypatch.setattr(clock, "running", lambda: right() + wrong_by)

    def rest() -> float:
        return float(lab.raw.zscore(keys.lease(QUEUE), info.id)) - right()

    if when == "from the start":
        set_clock()
    worker = await lab.start()
    if when == "while it works":
        set_clock()
    # Its own deadlines are by the clock of this host: half an hour would be over.
    info = await lab.enqueue("work", timeout=7200)
    await soon(started)
    assert 0 < rest() <= LEASE + 1
    taken = lab.raw.zscore(keys.lease(QUEUE), info.id)

    def renewed() -> bool:
        worker.quiet(False)  # makes the heart beat now
        return bool(lab.raw.zscore(keys.lease(QUEUE), info.id) > taken)

    await aeventually(renewed)
    assert 0 < rest() <= LEASE + 1
    go.set()
    assert await lab.settled(info.id) == ""


async def test_a_queue_whose_leases_cannot_be_written_costs_no_other_queue_its_own(
    lab: Lab,
) -> None:
    started = [asyncio.Event(), asyncio.Event()]
    go = asyncio.Event()

    @lab.app.task("work")
    async def work(number: int) -> None:
        started[number].set()
        await go.wait()

    lab.configure(queues={"broken": 1, "fine": 1})
    worker = await lab.start()
    await lab.enqueue("work", {"number": 0}, queue="broken")
    await soon(started[0])
    # The first one held, so that its queue is the first to be renewed.
    info = await lab.enqueue("work", {"number": 1}, queue="fine")
    await soon(started[1])
    lab.raw.set(keys.lease("broken"), "a string")
    before = lab.raw.zscore(keys.lease("fine"), info.id)

    def renewed() -> bool:
        worker.quiet(False)
        return bool(lab.raw.zscore(keys.lease("fine"), info.id) > before)

    await aeventually(renewed)
    lab.raw.delete(keys.lease("broken"))
    go.set()


@pytest.mark.usefixtures("lively")
async def test_a_connection_that_has_died_unseen_costs_no_lease_however_long_others_wait(
    lab: Lab, server: RedisServer
) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        started.set()
        await go.wait()

    with Relay(server.socket_path) as relay:
        lab.url = relay.url
        lab.configure(redis={"addrs": [relay.url], "call_timeout": "60s"})
        worker = await lab.start()
        info = await lab.enqueue("work")
        await soon(started)
        relay.lose_answer("extend", loss=Loss.SILENCE)
        worker.quiet(False)  # makes the heart beat now
        await aeventually(lambda: relay.lost["extend"] == 1)
        await aeventually(lambda: relay.answered["extend"] == 2, within=30)
        go.set()
        assert await lab.settled(info.id) == ""
        await lab.stop()
