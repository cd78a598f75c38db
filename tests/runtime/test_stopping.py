"""How a worker stops: what may end ends, the rest is put back, unchanged and in order."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time

import pytest

from qd import Context
from qd.protocol import keys
from tests.runtime.lab import QUEUE, Lab, soon
from tests.support.wait import aeventually


async def test_running_tasks_may_end_and_are_recorded(lab: Lab) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    @lab.app.task("work", retention="1h")
    async def work() -> str:
        started.set()
        await go.wait()
        return "done"

    await lab.start()
    info = await lab.enqueue("work", retention="1h")
    await soon(started)
    stopping = asyncio.ensure_future(lab.stop(5))
    await asyncio.sleep(0)
    lab.store("later")
    go.set()
    await stopping
    assert lab.state(info.id) == "completed"
    assert lab.state("later") == "pending"
    assert not lab.raw.exists(keys.active(QUEUE), keys.lease(QUEUE))


async def test_what_does_not_end_is_put_back_at_the_head_and_charged_nothing(lab: Lab) -> None:
    cancelled: list[str] = []
    running = 0

    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        nonlocal running
        running += 1
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(ctx.task_id)

    lab.configure(worker={"concurrency": 3})
    for n in range(5):
        lab.store(f"t{n}", retried=2)
    stored = lab.raw.hget(keys.task(QUEUE, "t0"), "msg")
    await lab.start()
    await aeventually(lambda: running == 3)
    await lab.stop(0)
    # The next to be taken is the last of the list.
    assert lab.raw.lrange(keys.pending(QUEUE), 0, -1) == [b"t4", b"t3", b"t2", b"t1", b"t0"]
    assert lab.raw.hget(keys.task(QUEUE, "t0"), "msg") == stored
    assert lab.raw.hget(keys.task(QUEUE, "t0"), "state") == b"pending"
    assert not lab.raw.hexists(keys.task(QUEUE, "t0"), "qd_owner")
    assert not lab.raw.exists(keys.active(QUEUE), keys.lease(QUEUE), keys.failed(QUEUE))
    assert sorted(cancelled) == ["t0", "t1", "t2"]


async def test_tasks_taken_and_not_started_are_put_back_in_order(lab: Lab) -> None:
    """A suspect runs alone: what was fetched with it waits, and goes back as it came."""
    started = asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        started.set()
        await asyncio.Event().wait()

    for n in range(5):
        lab.store(f"t{n}")
    lab.raw.hset(keys.task(QUEUE, "t0"), "qd_deaths", 1)
    worker = await lab.start()
    await soon(started)
    assert (worker.busy, lab.raw.llen(keys.active(QUEUE))) == (5, 5)
    await lab.stop(0)
    assert lab.raw.lrange(keys.pending(QUEUE), 0, -1) == [b"t4", b"t3", b"t2", b"t1", b"t0"]
    assert not lab.raw.exists(keys.active(QUEUE), keys.lease(QUEUE))


async def test_a_task_put_back_is_put_back_before_its_code_is_cancelled(lab: Lab) -> None:
    seen: list[str] = []
    started = asyncio.Event()

    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(lab.state(ctx.task_id))

    await lab.start()
    await lab.enqueue("work")
    await soon(started)
    await lab.stop(0)
    assert seen == ["pending"]


async def test_a_synchronous_handler_is_put_back_and_told_to_end(lab: Lab) -> None:
    started, told = threading.Event(), threading.Event()

    @lab.app.task("work")
    def work(ctx: Context) -> None:
        started.set()
        try:
            while True:
                time.sleep(0.005)
        finally:
            told.set()

    await lab.start()
    info = await lab.enqueue("work")
    await aeventually(started.is_set)
    await lab.stop(0)
    assert lab.state(info.id) == "pending"
    assert lab.message(info.id).terms.retried == 0
    await aeventually(told.is_set)


@pytest.mark.usefixtures("lively")
async def test_leases_are_renewed_while_a_stop_waits(lab: Lab) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        started.set()
        await go.wait()

    worker = await lab.start()
    info = await lab.enqueue("work")
    await soon(started)
    stopping = asyncio.ensure_future(lab.stop(60))
    await aeventually(lambda: worker._fetcher._stopping)
    # The beat that tells everybody of the stop comes at once.
    await aeventually(lambda: b"stopped" in b"".join(lab.raw.mget(lab.raw.keys("asynq:servers:*"))))

    def lease() -> float:
        return float(lab.raw.zscore(keys.lease(QUEUE), info.id) or 0)

    before = lease()
    await aeventually(lambda: lease() > before, 10)
    go.set()
    await stopping
    assert lab.state(info.id) == ""


async def test_a_second_stop_waits_no_longer(lab: Lab) -> None:
    started = asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        started.set()
        await asyncio.Event().wait()

    worker = await lab.start()
    info = await lab.enqueue("work")
    await soon(started)
    stopping = asyncio.ensure_future(lab.stop(60))
    await aeventually(lambda: worker._fetcher._stopping)
    assert not stopping.done()
    await worker.hurry()
    async with asyncio.timeout(5):
        await stopping
    assert lab.state(info.id) == "pending"


@pytest.mark.parametrize("round_", range(3))
async def test_nothing_stays_behind_when_leases_are_renewed_while_stopping(
    lab: Lab, round_: int
) -> None:
    """Stopping makes the heart beat at once, which moves the lease while the task is put back."""
    running = 0

    @lab.app.task("work")
    async def work() -> None:
        nonlocal running
        running += 1
        await asyncio.Event().wait()

    lab.configure(worker={"concurrency": 50})
    for n in range(50):
        lab.store(f"t{n}")
    worker = await lab.start()
    await aeventually(lambda: running == 50)
    # A second later the renewed leases are other ones.
    leases = {int(at) for _, at in lab.raw.zrange(keys.lease(QUEUE), 0, -1, withscores=True)}
    await aeventually(lambda: int(time.time()) + 15 > max(leases))
    worker._heartbeater.show("active")
    await lab.stop(0)
    assert lab.raw.llen(keys.pending(QUEUE)) == 50
    assert not lab.raw.exists(keys.active(QUEUE), keys.lease(QUEUE))


async def test_stopping_right_after_the_start_leaves_nothing_behind(lab: Lab) -> None:
    ran: list[str] = []

    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        ran.append(ctx.task_id)

    for n in range(30):
        lab.store(f"t{n}")
    await lab.start()
    await lab.stop(0)
    pending = lab.raw.lrange(keys.pending(QUEUE), 0, -1)
    assert sorted([*ran, *(one.decode() for one in pending)]) == sorted(f"t{n}" for n in range(30))
    assert not lab.raw.exists(keys.active(QUEUE), keys.lease(QUEUE))


async def test_a_handler_that_does_not_listen_does_not_hold_up_the_stop(lab: Lab) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        started.set()
        while not go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await go.wait()

    await lab.start()
    info = await lab.enqueue("work")
    await soon(started)
    try:
        async with asyncio.timeout(5):
            await lab.stop(0)
        assert lab.state(info.id) == "pending"
    finally:
        go.set()


async def test_what_ended_shortly_before_the_stop_is_written(lab: Lab) -> None:
    count = 0

    @lab.app.task("work", retention="1h")
    async def work() -> None:
        nonlocal count
        count += 1

    for n in range(200):
        lab.store(f"t{n}", retention=3600)
    await lab.start()
    await aeventually(lambda: count >= 50)
    await lab.stop(1)
    assert lab.raw.zcard(keys.completed(QUEUE)) == count
    assert lab.raw.llen(keys.pending(QUEUE)) == 200 - count
