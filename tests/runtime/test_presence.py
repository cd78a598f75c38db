"""What asynq's tools see of a worker: one server, the tasks it runs, and both gone after a stop."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
import threading
import time

import pytest

from qd.protocol import codec, keys
from qd.protocol.constants import LEASE, PRESENCE_TTL
from tests.runtime.lab import QUEUE, Lab, soon
from tests.support.wait import aeventually, eventually


async def test_a_worker_shows_itself_as_asynq_s_servers_do(lab: Lab) -> None:
    lab.configure(queues={"high": 6, "low": 1}, worker={"concurrency": 7, "strict_priority": True})
    worker = await lab.start()
    await aeventually(lambda: lab.raw.zcard(keys.SERVERS) == 1)
    host, pid = socket.gethostname(), os.getpid()
    key = keys.server(host, pid, worker.server_id)
    (listed, until) = lab.raw.zrange(keys.SERVERS, 0, -1, withscores=True)[0]
    assert listed.decode() == key == f"asynq:servers:{{{host}:{pid}:{worker.server_id}}}"
    assert until == pytest.approx(time.time() + PRESENCE_TTL, abs=2)
    await aeventually(lambda: lab.raw.exists(key))
    assert 0 < lab.raw.ttl(key) <= PRESENCE_TTL
    info = codec.decode_server(lab.raw.get(key))
    assert (info.host, info.pid, info.server_id) == (host, pid, worker.server_id)
    assert dict(info.queues) == {"high": 6, "low": 1}
    assert (info.concurrency, info.strict_priority, info.status) == (7, True, "active")
    assert info.started_ns == pytest.approx(time.time_ns(), abs=10 * 10**9)
    assert info.active_workers == 0


async def test_running_tasks_are_shown_with_type_start_and_deadline(lab: Lab) -> None:
    started = asyncio.Event()

    @lab.app.task("work", timeout="1m")
    async def work(text: str) -> None:
        started.set()
        await asyncio.Event().wait()

    worker = await lab.start()
    info = await lab.enqueue("work", {"text": "x" * 10_000})
    await soon(started)
    worker.quiet(False)  # makes the heart beat now
    key = keys.workers(socket.gethostname(), os.getpid(), worker.server_id)
    await aeventually(lambda: lab.raw.exists(key))
    assert lab.raw.hkeys(key) == [info.id.encode()]
    assert 0 < lab.raw.ttl(key) <= PRESENCE_TTL
    shown = codec.decode_worker(lab.raw.hget(key, info.id))
    assert (shown.task_id, shown.task_type, shown.queue) == (info.id, "work", QUEUE)
    assert shown.server_id == worker.server_id
    assert shown.task_payload.startswith(b'{"text":"xxx')
    assert len(shown.task_payload) < 10_000, "only the beginning, for it is sent every 5 s"
    now = time.time_ns()
    assert shown.started_ns == pytest.approx(now, abs=5 * 10**9)
    assert shown.deadline_ns is not None
    assert shown.deadline_ns - shown.started_ns == pytest.approx(60 * 10**9, abs=10**9)


async def test_a_worker_that_is_quiet_or_stopping_is_shown_as_stopped(lab: Lab) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        started.set()
        await go.wait()

    worker = await lab.start()
    key = keys.server(socket.gethostname(), os.getpid(), worker.server_id)

    def status() -> str:
        data = lab.raw.get(key)
        return "" if data is None else codec.decode_server(data).status

    await aeventually(lambda: status() == "active")
    worker.quiet(True)
    await aeventually(lambda: status() == "stopped")
    worker.quiet(False)
    await aeventually(lambda: status() == "active")
    await lab.enqueue("work")
    await soon(started)
    stopping = asyncio.ensure_future(lab.stop(5))
    await aeventually(lambda: status() == "stopped")
    go.set()
    await stopping


async def test_nothing_of_a_worker_is_shown_after_its_stop(lab: Lab) -> None:
    worker = await lab.start()
    await aeventually(lambda: lab.raw.zcard(keys.SERVERS) == 1)
    await lab.stop()
    assert not lab.raw.exists(keys.SERVERS, keys.WORKERS)
    assert not [key for key in lab.raw.keys("*") if worker.server_id.encode() in key]


@pytest.mark.usefixtures("lively")
async def test_leases_are_renewed_while_a_handler_blocks_the_loop(lab: Lab) -> None:
    """The heart beats in a thread of its own: a blocked loop loses no task."""
    started = asyncio.Event()

    @lab.app.task("waits")
    async def waits() -> None:
        started.set()
        await asyncio.Event().wait()

    await lab.start()
    info = await lab.enqueue("waits")
    await soon(started)
    before = lab.raw.zscore(keys.lease(QUEUE), info.id)
    # Blocks the loop, as an asynchronous handler must not.
    eventually(lambda: lab.raw.zscore(keys.lease(QUEUE), info.id) != before, 10)
    after = lab.raw.zscore(keys.lease(QUEUE), info.id)
    assert after > before
    assert after == pytest.approx(time.time() + LEASE, abs=2)


async def test_the_lease_of_a_task_that_waits_for_its_turn_is_renewed_as_well(lab: Lab) -> None:
    started = asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        started.set()
        await asyncio.Event().wait()

    for n in range(2):
        lab.store(f"t{n}")
    lab.raw.hset(keys.task(QUEUE, "t0"), "qd_deaths", 1)
    worker = await lab.start()
    await soon(started)
    before = lab.raw.zscore(keys.lease(QUEUE), "t1")
    await aeventually(lambda: int(time.time()) + LEASE > before)
    worker.quiet(False)  # makes the heart beat now
    await aeventually(lambda: lab.raw.zscore(keys.lease(QUEUE), "t1") > before)


async def test_the_handlers_of_a_worker_are_told_of_which_tasks_run(lab: Lab) -> None:
    """The parent process knows by this who saw the death of a worker."""

    @lab.app.task("work")
    async def work() -> None: ...

    await lab.start()
    task_id, _ = await lab.run("work")
    (key, until), end = lab.noted
    assert key == keys.task(QUEUE, task_id)
    assert until is not None
    assert until > time.time()
    assert end == (key, None)


async def test_a_handler_that_was_given_up_is_noted_without_a_limit_until_its_code_has_ended(
    lab: Lab,
) -> None:
    """It may still be what kills the process; that it is late is known already."""
    let_go = threading.Event()

    @lab.app.task("work", timeout="1s")
    def work() -> None:
        while not let_go.is_set():
            with contextlib.suppress(BaseException):
                let_go.wait(0.05)

    lab.configure(worker={"hard_grace": "100ms"})
    await lab.start()
    task_id, state = await lab.run("work")
    assert state == "retry"
    key = keys.task(QUEUE, task_id)
    assert lab.noted[1:] == [(key, None), (key, math.inf)]
    let_go.set()
    await aeventually(lambda: lab.noted[3:] == [(key, None)])
