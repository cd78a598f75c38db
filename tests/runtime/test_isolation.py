"""One task never notices another: neither context, nor cancellation, nor identity."""

from __future__ import annotations

import asyncio
import threading
import time
from contextvars import ContextVar
from typing import Any

import pytest

from qd import Context, Task
from qd.handlers.middleware import CallNext
from qd.protocol import codec, constants, keys
from qd.protocol.message import TaskMessage, Terms
from tests.runtime.lab import QUEUE, Lab, soon
from tests.support.wait import aeventually

var: ContextVar[str] = ContextVar("var", default="clean")


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_context_variables_do_not_reach_the_next_task(lab: Lab, kind: str) -> None:
    seen: list[str] = []

    def work(n: int) -> None:
        seen.append(var.get())
        var.set(f"dirty {n}")

    async def awork(n: int) -> None:
        work(n)

    var.set("set by the test")
    lab.app.register_handler("work", work if kind == "sync" else awork)
    lab.configure(worker={"concurrency": 1})
    await lab.start()
    for n in range(5):
        await lab.run("work", {"n": n})
    assert seen == ["clean"] * 5


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_what_a_middleware_sets_reaches_the_handler(lab: Lab, kind: str) -> None:
    seen: list[str] = []

    @lab.app.middleware
    async def trace(ctx: Context, task: Task, call_next: CallNext) -> Any:
        var.set(task.id)
        return await call_next(ctx, task)

    def work() -> None:
        seen.append(var.get())

    async def awork() -> None:
        work()

    lab.app.register_handler("work", work if kind == "sync" else awork)
    await lab.start()
    task_id, _ = await lab.run("work")
    assert seen == [task_id]


async def test_a_cancellation_in_the_last_step_does_not_reach_the_next_task(lab: Lab) -> None:
    @lab.app.task("selfish")
    async def selfish() -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()

    @lab.app.task("fine", retention="1h")
    async def fine() -> str:
        await asyncio.sleep(0)
        return "undisturbed"

    lab.configure(worker={"concurrency": 1})
    await lab.start()
    first, second = await lab.enqueue("selfish"), await lab.enqueue("fine", retention="1h")
    assert await lab.settled(first.id) == ""
    assert await lab.settled(second.id) == "completed"
    # And the slot still works.
    assert (await lab.run("fine", retention="1h"))[1] == "completed"


async def test_a_cancelled_task_leaves_its_slot_as_it_was(lab: Lab) -> None:
    started = asyncio.Event()

    @lab.app.task("endless")
    async def endless() -> None:
        started.set()
        await asyncio.Event().wait()

    @lab.app.task("fine")
    async def fine() -> None:
        async with asyncio.timeout(5):
            await asyncio.sleep(0.01)

    lab.configure(worker={"concurrency": 1})
    await lab.start()
    for _ in range(3):
        started.clear()
        info = await lab.enqueue("endless")
        await soon(started)
        lab.raw.publish(keys.CANCEL_CHANNEL, info.id)
        assert await lab.settled(info.id) == "retry"
        assert (await lab.run("fine"))[1] == ""


async def test_a_handler_awaiting_something_cancelled_has_failed(lab: Lab) -> None:
    @lab.app.task("work")
    async def work() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    await lab.start()
    task_id, state = await lab.run("work")
    assert (state, lab.error(task_id)) == ("retry", "context canceled")


async def test_an_exception_sent_to_a_thread_does_not_hit_its_next_task(lab: Lab) -> None:
    """The handler ends at the very moment it is cancelled, again and again."""
    ready, ended = threading.Event(), threading.Event()

    @lab.app.task("ends")
    def ends() -> None:
        ready.set()
        ended.wait(5)

    @lab.app.task("fine", retention="1h")
    def fine() -> int:
        return sum(range(1000))

    lab.configure(worker={"concurrency": 1})
    worker = await lab.start()
    for _ in range(30):
        ready.clear()
        ended.clear()
        info = await lab.enqueue("ends")
        await aeventually(ready.is_set)
        ended.set()
        worker._on_cancel(info.id)
        assert await lab.settled(info.id) in ("", "retry")
        assert (await lab.run("fine", retention="1h"))[1] == "completed"


async def test_two_queues_may_hold_the_same_id_at_once(lab: Lab) -> None:
    started: list[str] = []
    go = asyncio.Event()

    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        started.append(ctx.queue)
        await go.wait()

    lab.configure(queues={"a": 1, "b": 1})
    lab.store("same", queue="a")
    lab.store("same", queue="b")
    worker = await lab.start()
    await aeventually(lambda: sorted(started) == ["a", "b"])
    assert worker.busy == 2
    go.set()
    assert await lab.settled("same", "a") == await lab.settled("same", "b") == ""
    assert lab.raw.get(keys.processed("a")) == lab.raw.get(keys.processed("b")) == b"1"


async def test_cancelling_an_id_ends_it_in_every_queue(lab: Lab) -> None:
    started: list[str] = []

    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        started.append(ctx.queue)
        await asyncio.Event().wait()

    lab.configure(queues={"a": 1, "b": 1})
    lab.store("same", queue="a")
    lab.store("same", queue="b")
    await lab.start()
    await aeventually(lambda: len(started) == 2)
    lab.raw.publish(keys.CANCEL_CHANNEL, "same")
    assert await lab.settled("same", "a") == await lab.settled("same", "b") == "retry"


async def test_a_message_that_names_another_queue_runs_where_it_was_found(lab: Lab) -> None:
    seen: list[str] = []

    @lab.app.task("work")
    def work() -> None:
        seen.append("ran")

    lab.configure(queues={"a": 1})
    message = codec.encode_task(TaskMessage("work", b"{}", "t", Terms(queue="elsewhere")))
    lab.store("t", queue="a", message=message)
    await lab.start()
    assert await lab.settled("t", "a") == ""
    assert seen == ["ran"]


async def test_a_late_end_does_not_take_a_newer_run_of_the_same_task_for_its_own(lab: Lab) -> None:
    """The first run lost its lease, and the same worker took the task again meanwhile."""
    runs: list[threading.Event] = []

    @lab.app.task("work")
    def work() -> None:
        go = threading.Event()
        runs.append(go)
        go.wait(10)

    lab.store("t", timeout=1800)
    worker = await lab.start()
    await aeventually(lambda: len(runs) == 1)
    # A lease is not taken over in the second in which it was written; the worker's clock may be behind.
    first_lease = lab.raw.zscore(keys.lease(QUEUE), "t")
    await aeventually(lambda: time.time() - 0.5 + constants.LEASE > first_lease + 1)
    # As the recoverer does it.
    with lab.raw.pipeline(transaction=True) as pipe:
        pipe.zrem(keys.lease(QUEUE), "t")
        pipe.lrem(keys.active(QUEUE), 1, "t")
        pipe.hset(keys.task(QUEUE, "t"), "state", "pending")
        pipe.hdel(keys.task(QUEUE, "t"), "qd_owner")
        pipe.rpush(keys.pending(QUEUE), "t")
        pipe.execute()
    await aeventually(lambda: len(runs) == 2)
    assert worker.busy == 2
    runs[0].set()
    await aeventually(lambda: worker.busy == 1)
    assert lab.state("t") == "active"
    runs[1].set()
    await aeventually(lambda: worker.busy == 0)
    assert await lab.settled("t") == ""
    assert lab.raw.get(keys.processed(QUEUE)) == b"1"


async def test_no_more_tasks_run_at_once_than_there_are_slots(lab: Lab) -> None:
    now: list[int] = [0]
    most: list[int] = [0]

    async def awork() -> None:
        now[0] += 1
        most[0] = max(most[0], now[0])
        await asyncio.sleep(0.01)
        now[0] -= 1

    lock = threading.Lock()

    def work() -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.01)
        with lock:
            now[0] -= 1

    lab.app.register_handler("sync", work)
    lab.app.register_handler("async", awork)
    lab.configure(worker={"concurrency": 3})
    for kind in ("sync", "async"):
        infos = [await lab.enqueue(kind) for _ in range(20)]
        if lab.running is None:
            await lab.start()
        for info in infos:
            assert await lab.settled(info.id) == ""
        assert most[0] == 3
        most[0] = 0


async def test_a_blocked_thread_does_not_hold_up_asynchronous_handlers(lab: Lab) -> None:
    go = threading.Event()
    lab.app.register_handler("blocked", lambda: go.wait(10))

    @lab.app.task("fine")
    async def fine() -> None:
        go.set()

    lab.configure(worker={"concurrency": 2})
    await lab.start()
    blocked = await lab.enqueue("blocked")
    await aeventually(lambda: lab.worker.busy == 1)
    assert (await lab.run("fine"))[1] == ""
    assert await lab.settled(blocked.id) == ""
