"""Which tasks are taken, from where and when; and how little an idle worker does."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from contextlib import closing

import pytest

from qd import Context
from qd.broker.connect import open_link
from qd.protocol import keys
from qd.protocol.constants import HEARTBEAT
from tests.runtime.lab import QUEUE, Lab, soon
from tests.support.servers import RedisServer
from tests.support.wait import aeventually


class Monitor:
    """Hears what a server is asked for, by clients and by the scripts inside of it."""

    def __init__(self, server: RedisServer) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(server.socket_path))
        self._socket.sendall(b"MONITOR\r\n")
        assert self._socket.recv(5) == b"+OK\r\n"
        self._socket.setblocking(False)

    def lines(self) -> list[str]:
        """What was sent since the last call."""
        data = b""
        with contextlib.suppress(BlockingIOError):
            while part := self._socket.recv(65536):
                data += part
        return data.decode("utf-8", "replace").splitlines()

    def close(self) -> None:
        self._socket.close()


async def test_weights_share_the_slots_while_all_queues_have_tasks(lab: Lab) -> None:
    order: list[str] = []

    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        order.append(ctx.queue)

    lab.configure(queues={"often": 8, "seldom": 2}, worker={"concurrency": 5})
    for n in range(600):
        lab.store(f"t{n}", queue="often" if n % 2 else "seldom")
    await lab.start()
    await aeventually(lambda: len(order) >= 300, 10)
    share = order[:300].count("often") / 300
    # 0.8 is expected; 0.11 are five standard deviations.
    assert 0.69 < share < 0.91


async def test_a_light_queue_is_not_starved(lab: Lab) -> None:
    order: list[str] = []

    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        order.append(ctx.queue)

    lab.configure(queues={"often": 10, "seldom": 1})
    for n in range(300):
        lab.store(f"t{n}", queue="often")
    lab.store("one", queue="seldom")
    await lab.start()
    await aeventually(lambda: len(order) == 301, 10)
    assert order.index("seldom") < 300


async def test_strict_priority_empties_the_weightier_queue_first(lab: Lab) -> None:
    order: list[str] = []

    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        order.append(ctx.queue)
        await asyncio.sleep(0)

    lab.configure(queues={"low": 1, "high": 6}, worker={"strict_priority": True, "concurrency": 4})
    for n in range(60):
        lab.store(f"t{n}", queue="low" if n % 2 else "high")
    await lab.start()
    await aeventually(lambda: len(order) == 60)
    assert order == ["high"] * 30 + ["low"] * 30


async def test_tasks_of_a_queue_start_in_the_order_in_which_they_came(lab: Lab) -> None:
    order: list[int] = []

    @lab.app.task("work")
    async def work(n: int) -> None:
        order.append(n)

    for n in range(50):
        lab.store(f"t{n}", payload=b'{"n":%d}' % n)
    lab.configure(worker={"concurrency": 3})
    await lab.start()
    await aeventually(lambda: len(order) == 50)
    assert order == list(range(50))


async def test_only_as_many_tasks_are_taken_as_can_start(lab: Lab) -> None:
    go = asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        await go.wait()

    for n in range(10):
        lab.store(f"t{n}")
    lab.configure(worker={"concurrency": 4})
    worker = await lab.start()
    await aeventually(lambda: worker.busy == 4)
    assert lab.raw.llen(keys.active(QUEUE)) == 4
    assert lab.raw.llen(keys.pending(QUEUE)) == 6
    go.set()
    await aeventually(lambda: worker.done == 10)


async def test_an_idle_worker_is_woken_by_a_plain_push_of_another_client(lab: Lab) -> None:
    started = asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        started.set()

    worker = await lab.start()
    await aeventually(lambda: worker._fetcher.idle)
    for _ in range(5):
        started.clear()
        lab.store("t")
        # Far less than the ten seconds after which queues are looked at anyway.
        await soon(started, 1)
        await aeventually(lambda: worker._fetcher.idle and not lab.state("t"))


async def test_a_push_between_the_look_and_the_arming_is_not_missed(lab: Lab) -> None:
    """Many tasks one by one, each as soon as the one before is gone, never wait for a poll."""
    count = 0

    @lab.app.task("work")
    async def work() -> None:
        nonlocal count
        count += 1
        if count < 200:
            await lab.enqueue("work")

    await lab.start()
    started = time.monotonic()
    await lab.enqueue("work")
    await aeventually(lambda: count == 200, 20)
    assert time.monotonic() - started < 8


async def test_a_paused_queue_is_left_alone_and_resumed_within_a_second(lab: Lab) -> None:
    started = asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        started.set()

    lab.configure(queues={"other": 1, QUEUE: 1})
    lab.raw.set(keys.paused(QUEUE), 1)
    worker = await lab.start()
    lab.store("t")
    # The other queue is served: so this one was looked at, too.
    lab.store("o", queue="other")
    assert await lab.settled("o", "other") == ""
    started.clear()
    await aeventually(lambda: worker._fetcher.idle)
    assert lab.state("t") == "pending"
    lab.raw.delete(keys.paused(QUEUE))
    await soon(started, 1)


async def test_a_pause_is_heard_within_a_second_by_a_busy_worker(lab: Lab) -> None:
    @lab.app.task("work")
    async def work() -> None:
        await asyncio.sleep(0.001)

    for n in range(3000):
        lab.store(f"t{n}")
    lab.configure(worker={"concurrency": 2})
    worker = await lab.start()
    await aeventually(lambda: worker.done > 10)
    lab.raw.set(keys.paused(QUEUE), 1)
    left = lab.raw.llen(keys.pending(QUEUE))
    await aeventually(lambda: worker._fetcher.idle and not worker.busy, 1)
    assert left - lab.raw.llen(keys.pending(QUEUE)) <= 4


async def test_an_idle_worker_sends_a_few_commands_with_each_heartbeat(
    lab: Lab, server: RedisServer
) -> None:
    lab.configure(queues={"a": 3, "b": 2, "c": 1})
    worker = await lab.start()
    # The last that is written with a heartbeat.
    await aeventually(lambda: worker._fetcher.idle and lab.raw.keys("qd:birthmarks:*"))
    with closing(Monitor(server)) as monitor:
        # So long that the next heartbeat is in it, and perhaps a look at the queues.
        await asyncio.sleep(HEARTBEAT + 2)
        sent = [line for line in monitor.lines() if "[0 lua]" not in line]
    assert 0 < len(sent) < 2 * HEARTBEAT, sent


async def test_a_worker_without_polling_shows_itself_and_takes_nothing(lab: Lab) -> None:
    lab.configure(worker={"polling": False})
    lab.store("t")
    worker = await lab.start()
    await aeventually(lambda: lab.raw.zcard(keys.SERVERS) == 1)
    assert lab.state("t") == "pending"
    assert not worker.waiting


async def test_quiet_takes_nothing_new_and_lets_running_tasks_end(lab: Lab) -> None:
    go, started = asyncio.Event(), asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        started.set()
        await go.wait()

    worker = await lab.start()
    lab.store("first")
    await soon(started)
    worker.quiet(True)
    lab.store("second")
    go.set()
    assert await lab.settled("first") == ""
    assert lab.state("second") == "pending"
    assert not worker.waiting, "a process that is quiet is no stalled process"
    worker.quiet(False)
    assert await lab.settled("second") == ""


async def test_redis_without_tracking_is_polled(lab: Lab) -> None:
    """A proxy, or rights that do not reach CLIENT TRACKING: slower, but it works."""
    lab.raw.execute_command(
        "ACL", "SETUSER", "plain", "on", ">pw", "~*", "&*", "+@all", "-client|tracking"
    )
    started = asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        started.set()

    lab.configure(redis={"addrs": [lab.url.replace("unix://", "unix://plain:pw@")]})
    worker = await lab.start()
    await aeventually(lambda: worker._fetcher.idle)
    lab.store("t")
    await soon(started, 2)


async def test_a_prefix_stands_before_every_queue_on_both_sides(lab: Lab) -> None:
    seen: list[str] = []

    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        seen.append(ctx.queue)

    lab.configure(queue_prefix="prod_")
    await lab.start()
    info = await lab.enqueue("work")
    assert info.queue == f"prod_{QUEUE}"
    await aeventually(lambda: seen == [f"prod_{QUEUE}"])


async def test_a_broken_queue_does_not_keep_the_others_from_being_served(lab: Lab) -> None:
    seen: list[str] = []

    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        seen.append(ctx.task_id)

    lab.configure(queues={"broken": 1, "fine": 1})
    lab.raw.set(keys.pending("broken"), "not a list")
    for n in range(30):
        lab.store(f"t{n}", queue="fine")
    await lab.start()
    await aeventually(lambda: len(seen) == 30)


async def test_links_of_a_stopped_worker_are_closed(lab: Lab) -> None:
    link = open_link(lab.app.connection.endpoint)
    before = len(lab.raw.client_list())
    await lab.start()
    await aeventually(lambda: len(lab.raw.client_list()) >= before + 3)
    await lab.stop()
    await aeventually(lambda: len(lab.raw.client_list()) == before)
    link.close()


async def test_a_broken_queue_is_told_of_once_and_slows_no_other(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    @lab.app.task("work")
    async def work() -> None: ...

    lab.configure(queues={QUEUE: 1, "broken": 1})
    lab.raw.set(keys.pending("broken"), "not a list")
    await lab.start()
    async with asyncio.timeout(20):  # after a failed fetch it would wait for up to a second each
        for _ in range(50):
            await lab.run("work")
    said = [one.getMessage() for one in caplog.records if one.name == "qd.fetcher"]
    assert len(said) == 1
    assert "queue broken is left out" in said[0]
    lab.raw.delete(keys.pending("broken"))
    lab.store("mended", queue="broken")
    assert await lab.settled("mended", "broken") == ""
