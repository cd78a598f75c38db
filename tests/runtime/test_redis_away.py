"""Redis stops, comes back, loses its memory, or gives the task to somebody else."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from msgspec.structs import replace

from qd import Context
from qd.errors import LeaseLost
from qd.protocol import keys
from tests.runtime.lab import QUEUE, Lab, soon
from tests.support.servers import RedisServer
from tests.support.wait import aeventually

ANOTHER = "another worker"


def take_over(lab: Lab, task_id: str) -> None:
    """What is in Redis once another worker has the task."""
    lab.raw.hset(keys.task(QUEUE, task_id), "qd_owner", ANOTHER)
    lab.raw.zadd(keys.lease(QUEUE), {task_id: int(time.time()) + 100})


async def test_an_outcome_waits_for_a_server_that_does_not_answer(
    lab: Lab, server: RedisServer
) -> None:
    started, go = asyncio.Event(), asyncio.Event()
    runs = 0

    @lab.app.task("work", retention="1h")
    async def work() -> str:
        nonlocal runs
        runs += 1
        started.set()
        await go.wait()
        return "written late"

    lab.configure(redis={"addrs": [lab.url], "call_timeout": "300ms"})
    worker = await lab.start()
    info = await lab.enqueue("work", retention="1h")
    await soon(started)
    server.pause()
    go.set()
    try:
        # Until the first attempt to write has failed.
        await aeventually(lambda: worker.done == 1)
        await asyncio.sleep(0.5)
    finally:
        server.resume()
    assert await lab.settled(info.id) == "completed"
    assert lab.raw.hget(keys.task(QUEUE, info.id), "result") == b'"written late"'
    assert runs == 1
    assert lab.raw.get(keys.processed(QUEUE)) == b"1"


async def test_an_outcome_waits_for_a_server_that_is_down(lab: Lab, server: RedisServer) -> None:
    started, go = asyncio.Event(), asyncio.Event()
    runs = 0

    @lab.app.task("work", retention="1h")
    async def work() -> None:
        nonlocal runs
        runs += 1
        started.set()
        await go.wait()

    worker = await lab.start()
    info = await lab.enqueue("work", retention="1h")
    await soon(started)
    lab.raw.save()
    server.kill()
    go.set()
    await aeventually(lambda: worker.done == 1)
    server.start()  # with what was saved
    (server.folder / "dump.rdb").unlink()
    assert await lab.settled(info.id) == "completed"
    assert runs == 1
    # And new tasks are taken again.
    lab.store("next", retention=60)
    assert await lab.settled("next") == "completed"
    assert runs == 2


async def test_a_worker_goes_on_by_itself_when_redis_was_restarted(
    lab: Lab, server: RedisServer
) -> None:
    done = asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        done.set()

    worker = await lab.start()
    await aeventually(lambda: worker._fetcher.idle)
    server.restart()
    lab.store("t")
    await soon(done, 5)
    # The ears work again, too.
    await aeventually(lambda: worker._fetcher.idle and worker._watcher._link is not None)
    done.clear()
    lab.store("t2")
    await soon(done, 1)


async def test_a_flushed_server_ends_the_runs_that_it_forgot(lab: Lab, server: RedisServer) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    worker = await lab.start()
    await lab.enqueue("work")
    await soon(started)
    server.flush()
    worker.quiet(False)  # makes the heart beat now
    await soon(ended)
    await aeventually(lambda: worker.busy == 0)
    assert not list(lab.raw.keys("asynq:{q}*"))


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_run_whose_lease_is_lost_is_ended_and_not_recorded(lab: Lab, kind: str) -> None:
    started = threading.Event()
    seen: list[BaseException] = []

    async def awork() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            seen.append(error)
            raise

    def work() -> None:
        started.set()
        try:
            while True:
                time.sleep(0.005)
        except LeaseLost as error:
            seen.append(error)
            raise

    lab.app.register_handler("work", work if kind == "sync" else awork)
    worker = await lab.start()
    info = await lab.enqueue("work")
    await aeventually(started.is_set)
    take_over(lab, info.id)
    before = lab.raw.hgetall(keys.task(QUEUE, info.id))
    worker.quiet(False)  # makes the heart beat now
    await aeventually(lambda: worker.busy == 0)
    assert len(seen) == 1
    assert lab.raw.hgetall(keys.task(QUEUE, info.id)) == before
    assert lab.raw.lrange(keys.active(QUEUE), 0, -1) == [info.id.encode()]
    assert not lab.raw.exists(keys.retry(QUEUE), keys.processed(QUEUE))
    assert not worker._held


async def test_the_outcome_of_a_lost_task_is_not_recorded(lab: Lab) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        started.set()
        await go.wait()

    worker = await lab.start()
    info = await lab.enqueue("work")
    await soon(started)
    take_over(lab, info.id)
    go.set()
    await aeventually(lambda: not worker._held)
    assert lab.state(info.id) == "active"
    assert lab.raw.hget(keys.task(QUEUE, info.id), "qd_owner") == ANOTHER.encode()
    assert not lab.raw.exists(keys.processed(QUEUE))


async def test_a_task_deleted_while_it_runs_troubles_nobody(lab: Lab) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        started.set()
        await go.wait()

    worker = await lab.start()
    info = await lab.enqueue("work")
    await soon(started)
    lab.raw.delete(keys.task(QUEUE, info.id), keys.active(QUEUE), keys.lease(QUEUE))
    go.set()
    await aeventually(lambda: not worker._held)
    lab.store("next")
    assert await lab.settled("next") == ""


async def test_an_outcome_is_written_although_the_lease_was_renewed_at_the_same_time(
    lab: Lab, server: RedisServer
) -> None:
    """
    The outcome is on its way with the old lease when the heart beats, and Redis sees the new lease
    first. That is no reason to throw the outcome away and run the task again.
    """
    started, go = asyncio.Event(), asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        started.set()
        await go.wait()

    worker = await lab.start()
    info = await lab.enqueue("work")
    await soon(started)
    (run,) = worker._held.snapshot()
    before = run.held.high
    await aeventually(lambda: int(time.time()) + 15 > before)
    # As the heart does it: known first, then sent; its script is carried out here by hand.
    lab.raw.zadd(keys.lease(QUEUE), {info.id: int(time.time()) + 15})
    server.pause()
    go.set()
    await aeventually(lambda: worker.done == 1)
    await asyncio.sleep(0.05)  # the outcome, with the old lease, is in the socket
    run.held = replace(run.held, high=int(time.time()) + 15)
    server.resume()
    assert await lab.settled(info.id) == ""


async def test_a_result_is_written_although_the_lease_was_renewed_at_the_same_time(
    lab: Lab, server: RedisServer
) -> None:
    started, go, on_its_way = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @lab.app.task("work", retention="1h")
    async def work(ctx: Context) -> None:
        started.set()
        await go.wait()
        on_its_way.set()
        await ctx.write_result("so far")

    worker = await lab.start()
    info = await lab.enqueue("work", retention="1h")
    await soon(started)
    (run,) = worker._held.snapshot()
    later = run.held.high + 1
    lab.raw.zadd(keys.lease(QUEUE), {info.id: later})
    server.pause()
    go.set()
    await soon(on_its_way)
    await asyncio.sleep(0.05)  # the result, with the old lease, is in the socket
    run.held = replace(run.held, high=later)
    server.resume()
    assert await lab.settled(info.id) == "completed"
    assert lab.raw.hget(keys.task(QUEUE, info.id), "result") == b'"so far"'


async def test_a_result_cannot_be_written_for_a_lost_task(lab: Lab) -> None:
    started, go = asyncio.Event(), asyncio.Event()
    seen: list[BaseException] = []

    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        started.set()
        await go.wait()
        try:
            await ctx.write_result("late")
        except LeaseLost as error:
            seen.append(error)

    worker = await lab.start()
    info = await lab.enqueue("work")
    await soon(started)
    take_over(lab, info.id)
    go.set()
    await aeventually(lambda: worker.busy == 0)
    assert len(seen) == 1
    assert not lab.raw.hexists(keys.task(QUEUE, info.id), "result")


async def test_a_fetch_whose_answer_was_lost_gives_the_same_tasks_once(
    lab: Lab, server: RedisServer
) -> None:
    runs: list[str] = []

    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        runs.append(ctx.task_id)

    lab.configure(
        redis={"addrs": [lab.url], "call_timeout": "200ms"}, queues={QUEUE: 1, "other": 1}
    )
    worker = await lab.start()
    await aeventually(lambda: worker._fetcher.idle)
    worker.quiet(True)
    for n in range(20):
        lab.store(f"t{n}", queue=QUEUE if n % 2 else "other")
    # The fetch reaches the server's socket; when it is carried out, nobody waits for the answer.
    server.pause()
    worker.quiet(False)
    await aeventually(lambda: worker._fetcher._failing)
    server.resume()
    for n in range(20):
        assert await lab.settled(f"t{n}", QUEUE if n % 2 else "other") == ""
    assert len(runs) == len(set(runs)) == 20


async def test_redis_away_is_no_stall(lab: Lab, server: RedisServer) -> None:
    """A worker that cannot take tasks for want of Redis is not to be replaced for that."""
    started, go = asyncio.Event(), asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        started.set()
        await go.wait()

    lab.configure(redis={"addrs": [lab.url], "call_timeout": "200ms"}, worker={"concurrency": 1})
    lab.store("first")
    lab.store("second")
    worker = await lab.start()
    await soon(started)
    server.kill()
    go.set()
    await aeventually(lambda: worker._fetcher._failing)
    assert not worker.waiting
    server.start()


async def test_stopping_without_redis_takes_a_bounded_time(lab: Lab, server: RedisServer) -> None:
    started = asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        started.set()
        await asyncio.Event().wait()

    lab.configure(redis={"addrs": [lab.url], "call_timeout": "500ms"})
    await lab.start()
    info = await lab.enqueue("work")
    await soon(started)
    server.pause()
    try:
        async with asyncio.timeout(8):
            await lab.stop(0)
    finally:
        server.resume()
    assert lab.state(info.id) in ("active", "pending")


async def test_a_worker_that_stops_gives_redis_its_time_to_come_back(
    lab: Lab, server: RedisServer
) -> None:
    go = asyncio.Event()
    runs: list[str] = []

    @lab.app.task("ends", retention="1h")
    async def ends(ctx: Context) -> None:
        runs.append(ctx.task_id)
        await go.wait()

    worker = await lab.start()
    ended = await lab.enqueue("ends", retention="1h")
    await aeventually(lambda: len(runs) == 1)
    lab.raw.save()
    server.kill()
    go.set()
    await aeventually(lambda: worker.done == 1)
    # Longer than the two seconds for the last outcomes.
    stopping = asyncio.ensure_future(lab.stop(30))
    done, _ = await asyncio.wait([stopping], timeout=3)
    assert not done
    server.start()
    (server.folder / "dump.rdb").unlink()
    await asyncio.wait_for(stopping, 20)
    assert lab.state(ended.id) == "completed"
    assert len(runs) == 1


async def test_what_still_runs_is_put_back_when_redis_answers_a_moment_later(
    lab: Lab, server: RedisServer
) -> None:
    started = asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        started.set()
        await asyncio.Event().wait()

    lab.configure(redis={"addrs": [lab.url], "call_timeout": "200ms"})
    await lab.start()
    info = await lab.enqueue("work")
    await soon(started)
    server.pause()
    stopping = asyncio.ensure_future(lab.stop(0))
    try:
        # Until the first try to put it back has failed.
        await asyncio.sleep(0.4)
    finally:
        server.resume()
    await stopping
    assert lab.state(info.id) == "pending"
    assert not lab.raw.exists(keys.active(QUEUE), keys.lease(QUEUE))


async def test_who_is_in_a_hurry_does_not_wait_for_redis(lab: Lab, server: RedisServer) -> None:
    go = asyncio.Event()
    started = asyncio.Event()

    @lab.app.task("work", retention="1h")
    async def work() -> None:
        started.set()
        await go.wait()

    worker = await lab.start()
    await lab.enqueue("work", retention="1h")
    await soon(started)
    server.kill()
    go.set()
    await aeventually(lambda: worker.done == 1)
    stopping = asyncio.ensure_future(lab.stop(3600))
    await asyncio.sleep(0)
    await worker.hurry()
    await asyncio.wait_for(stopping, 30)
    server.start()
