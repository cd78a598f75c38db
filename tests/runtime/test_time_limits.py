"""Runs that end before their handler wants to: out of time, cancelled, not listening."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from qd import Context, SkipRetry
from qd.errors import TaskCancelled, TaskTimeout
from qd.protocol import keys
from tests.runtime.lab import QUEUE, Lab, soon
from tests.support.wait import aeventually

FOREVER = 30.0
"""Longer than any test: what sleeps this long must be woken."""


async def test_an_asynchronous_handler_is_cancelled_when_its_time_is_over(lab: Lab) -> None:
    ended: list[str] = []

    @lab.app.task("work", timeout="1s")
    async def work(ctx: Context) -> None:
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            ended.append(f"cancelled {ctx.cancelled}")
            raise

    await lab.start()
    task_id, state = await lab.run("work")
    assert (state, lab.error(task_id)) == ("retry", "context deadline exceeded")
    assert ended == ["cancelled True"]
    assert lab.message(task_id).terms.retried == 1
    assert lab.unstoppable == []


async def test_a_synchronous_handler_gets_an_exception_when_its_time_is_over(lab: Lab) -> None:
    caught: list[BaseException] = []

    @lab.app.task("work", timeout="1s")
    def work(ctx: Context) -> None:
        try:
            while not ctx.cancelled:
                time.sleep(0.01)
            while True:
                time.sleep(0.01)
        except TaskTimeout as error:
            caught.append(error)
            raise

    await lab.start()
    task_id, state = await lab.run("work")
    assert (state, lab.error(task_id)) == ("retry", "context deadline exceeded")
    assert len(caught) == 1
    assert lab.unstoppable == []


async def test_a_deadline_that_is_over_fails_the_task_without_running_it(lab: Lab) -> None:
    @lab.app.task("work")
    async def work() -> None:
        raise AssertionError("must not run")

    lab.store("t", deadline=int(time.time()) - 5)
    await lab.start()
    assert await lab.settled("t") == "retry"
    assert lab.error("t") == "context deadline exceeded"
    assert lab.worker.busy == 0


async def test_the_earlier_of_timeout_and_deadline_counts(lab: Lab) -> None:
    seen: list[datetime] = []

    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        seen.append(ctx.deadline)

    await lab.start()
    now = datetime.now(UTC)
    await lab.run("work", timeout="1h", deadline=now + timedelta(minutes=5))
    await lab.run("work", timeout="1m", deadline=now + timedelta(minutes=5))
    first, second = ((at - now).total_seconds() for at in seen)
    assert first == pytest.approx(300, abs=2)
    assert second == pytest.approx(60, abs=2)


async def test_a_cancelled_handler_may_say_how_its_task_ends(lab: Lab) -> None:
    started = asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        started.set()
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            raise SkipRetry("cleaned up") from None

    await lab.start()
    info = await lab.enqueue("work")
    await soon(started)
    lab.raw.publish(keys.CANCEL_CHANNEL, info.id)
    assert await lab.settled(info.id) == "archived"
    assert lab.error(info.id) == "cleaned up"


async def test_a_published_cancellation_ends_an_asynchronous_run(lab: Lab) -> None:
    started = asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        started.set()
        await asyncio.sleep(FOREVER)

    await lab.start()
    info = await lab.enqueue("work")
    await soon(started)
    assert lab.raw.publish(keys.CANCEL_CHANNEL, info.id) == 1
    assert await lab.settled(info.id) == "retry"
    assert lab.error(info.id) == "context canceled"
    assert lab.message(info.id).terms.retried == 1


async def test_cancellations_are_heard_before_the_first_task_starts(lab: Lab) -> None:
    listeners: list[int] = []

    @lab.app.task("work")
    async def work() -> None:
        listeners.append(lab.raw.pubsub_numsub(keys.CANCEL_CHANNEL)[0][1])

    for _ in range(5):
        lab.store("t")
        await lab.start()
        assert await lab.settled("t") == ""
        await lab.stop()
    assert listeners == [1] * 5


async def test_a_published_cancellation_ends_a_synchronous_run(lab: Lab) -> None:
    started = threading.Event()

    @lab.app.task("work")
    def work() -> None:
        started.set()
        try:
            while True:
                time.sleep(0.01)
        except TaskCancelled:
            raise SkipRetry("was told to") from None

    await lab.start()
    info = await lab.enqueue("work")
    await aeventually(started.is_set)
    lab.raw.publish(keys.CANCEL_CHANNEL, info.id)
    assert await lab.settled(info.id) == "archived"
    assert lab.error(info.id) == "was told to"


async def test_cancelling_an_unknown_id_touches_nobody(lab: Lab) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        started.set()
        await go.wait()

    await lab.start()
    info = await lab.enqueue("work")
    await soon(started)
    lab.raw.publish(keys.CANCEL_CHANNEL, "somebody else")
    lab.raw.publish(keys.CANCEL_CHANNEL, b"\xff\xfe")
    await lab.enqueue("unknown")  # the watcher has read both when this one is gone
    go.set()
    assert await lab.settled(info.id) == ""


async def test_a_handler_that_ignores_its_end_is_given_up_after_the_grace(lab: Lab) -> None:
    ignoring, go = asyncio.Event(), asyncio.Event()

    @lab.app.task("work", timeout="1s")
    async def work() -> None:
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                ignoring.set()

    lab.configure(worker={"hard_grace": "100ms"})
    await lab.start()
    task_id, state = await lab.run("work")
    assert (state, lab.error(task_id)) == ("retry", "context deadline exceeded")
    assert ignoring.is_set()
    assert lab.unstoppable == [True]
    # What it does in the end is not recorded.
    go.set()
    await asyncio.sleep(0)
    assert lab.state(task_id) == "retry"


async def test_a_thread_that_ignores_its_end_is_given_up_after_the_grace(lab: Lab) -> None:
    go = threading.Event()

    @lab.app.task("work", timeout="1s")
    def work() -> None:
        go.wait(FOREVER)  # one long call into C: no exception gets in

    lab.configure(worker={"hard_grace": "100ms"})
    await lab.start()
    task_id, state = await lab.run("work")
    go.set()
    assert (state, lab.error(task_id)) == ("retry", "context deadline exceeded")
    assert lab.unstoppable == [True]


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_the_slot_of_a_handler_that_was_given_up_is_replaced(lab: Lab, kind: str) -> None:
    go, thread_go = asyncio.Event(), threading.Event()

    async def awork() -> None:
        while not go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await go.wait()

    def work() -> None:
        thread_go.wait(FOREVER)

    lab.app.register_handler("work", work if kind == "sync" else awork)
    lab.app.register_handler("fine", lambda: None)
    lab.configure(worker={"hard_grace": "100ms", "concurrency": 1})
    await lab.start()
    _, state = await lab.run("work", timeout="1s")
    assert state == "retry"
    try:
        assert (await lab.run("fine"))[1] == ""
    finally:
        go.set()
        thread_go.set()
    # And with the lost one back there is still one task at a time.
    assert (await lab.run("fine"))[1] == ""


async def test_a_worker_stops_at_once_when_its_last_run_was_given_up(lab: Lab) -> None:
    go = threading.Event()

    @lab.app.task("work", timeout="1s")
    def work() -> None:
        go.wait(FOREVER)

    lab.configure(worker={"hard_grace": "1s"})
    await lab.start()
    info = await lab.enqueue("work")
    await aeventually(lambda: lab.worker.busy == 1)
    try:
        async with asyncio.timeout(10):
            await lab.stop(FOREVER)
    finally:
        go.set()
    assert (lab.state(info.id), lab.error(info.id)) == ("retry", "context deadline exceeded")


async def test_a_timeout_that_is_caught_and_answered_with_a_result_is_a_success(lab: Lab) -> None:
    @lab.app.task("work", timeout="1s", retention="1h")
    async def work() -> str:
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            return "partial"
        return "all"

    await lab.start()
    task_id, state = await lab.run("work")
    assert state == "completed"
    assert lab.raw.hget(keys.task(QUEUE, task_id), "result") == b'"partial"'
