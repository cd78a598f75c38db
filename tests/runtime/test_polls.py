"""Polls: looks that come again until one says done, one at a time for each id."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import Any

import pytest

from qd import Context, NotYet, RevokeTask, SkipRetry, Snooze
from qd.app.app import App
from qd.errors import TaskNotFound, WrongState
from qd.handlers.moved import TaskMoved
from qd.protocol import keys, polling
from qd.protocol.ops import locks
from tests.runtime.lab import QUEUE, Lab, soon
from tests.support.wait import aeventually


async def look_again(lab: Lab, task_id: str) -> str:
    """Let a poll that waits look now; its state afterwards."""
    lab.app.inspector().tasks.run(QUEUE, task_id)
    return await lab.settled(task_id)


def remembered(lab: Lab, task_id: str) -> Any:
    return polling.read(lab.message(task_id).terms.headers)


def due_in(lab: Lab, task_id: str, kind: Any = keys.retry) -> float:
    """Seconds until a task comes back."""
    return float(lab.raw.zscore(kind(QUEUE), task_id)) - time.time()


def lock_name(value: str, pattern: str = "video") -> str:
    return f"poll:{pattern}:{value}"


def owner_of(lab: Lab, value: str) -> str:
    return (lab.raw.get(keys.lock(lock_name(value))) or b"").decode()


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_it_looks_until_it_is_done_and_no_retry_is_used_up(lab: Lab, kind: str) -> None:
    looks: list[tuple[int, int]] = []

    def look(ctx: Context) -> dict[str, str] | None:
        looks.append((ctx.look, ctx.attempt))
        if ctx.look < 5:
            raise NotYet(f"{20 * ctx.look} %")
        return {"url": "7.mp4"}

    async def alook(ctx: Context) -> dict[str, str] | None:
        return look(ctx)

    poll = lab.app.poll("video", max_retry=0, retention="1h")
    poll(look if kind == "sync" else alook)
    await lab.start()
    task_id, state = await lab.run("video")
    delays = []
    while state == "retry":
        assert lab.message(task_id).terms.retried == 0
        delays.append(due_in(lab, task_id))
        said = lab.error(task_id)
        assert said == f"{20 * len(delays)} %"
        state = await look_again(lab, task_id)
    assert state == "completed"
    assert looks == [(n, 1) for n in range(1, 6)]
    assert lab.raw.hget(keys.task(QUEUE, task_id), "result") == b'{"url":"7.mp4"}'
    for delay, expected in zip(delays, (3, 6, 10, 10), strict=True):
        # Rounded up to whole seconds, and looked at some time later.
        assert expected - 3 < delay <= expected + 1
    assert lab.raw.get(keys.processed(QUEUE)) == b"1"
    assert not lab.raw.exists(keys.failed(QUEUE))


async def test_what_it_knows_is_in_its_message(lab: Lab) -> None:
    @lab.app.poll("video", give_up_after="30m")
    async def look() -> None:
        raise NotYet

    before = time.time()
    await lab.start()
    info = await lab.enqueue("video", headers={"tenant": "acme"})
    assert await lab.settled(info.id) == "retry"
    first = remembered(lab, info.id)
    assert before - 0.001 <= first.since <= time.time()
    assert first.until == pytest.approx(first.since + 1800, abs=0.002)
    await look_again(lab, info.id)
    second = remembered(lab, info.id)
    assert (second.looks, second.since) == (2, first.since)
    assert ("tenant", "acme") in lab.message(info.id).terms.headers
    assert lab.error(info.id) == "not yet"


async def test_a_handler_may_say_when_to_look_again(lab: Lab) -> None:
    @lab.app.poll("video")
    async def look(delay: str) -> None:
        raise NotYet("queued", delay=delay)

    await lab.start()
    task_id, state = await lab.run("video", {"delay": "10m"})
    assert state == "retry"
    assert 590 < due_in(lab, task_id) <= 601
    # What cannot be read must not keep the task from coming back.
    task_id, state = await lab.run("video", {"delay": "soon"})
    assert state == "retry"
    assert 50 < due_in(lab, task_id) <= 61


async def test_a_failed_look_is_a_failure_under_the_rules_for_retries(lab: Lab) -> None:
    looks: list[tuple[int, int]] = []

    @lab.app.poll("video", max_retry=1, retry=lambda *_: 40.0)
    async def look(ctx: Context) -> None:
        looks.append((ctx.look, ctx.attempt))
        if len(looks) == 2:
            raise LookupError("no such video")
        if len(looks) == 5:
            raise LookupError("again")
        raise NotYet

    await lab.start()
    task_id, _ = await lab.run("video")
    assert await look_again(lab, task_id) == "retry"
    assert lab.message(task_id).terms.retried == 1
    assert due_in(lab, task_id) > 30
    assert remembered(lab, task_id).looks == 1
    for _ in range(2):
        assert await look_again(lab, task_id) == "retry"
    assert await look_again(lab, task_id) == "archived"
    assert lab.error(task_id) == "LookupError: again"
    # The retry of a failed look is that look once more.
    assert looks == [(1, 1), (2, 1), (2, 2), (3, 2), (4, 2)]


async def test_a_poll_that_fails_at_first_knows_since_when_it_looks(lab: Lab) -> None:
    @lab.app.poll("video")
    async def look() -> None:
        raise LookupError

    await lab.start()
    task_id, _ = await lab.run("video")
    assert remembered(lab, task_id).looks == 0
    assert remembered(lab, task_id).since > time.time() - 60


async def test_a_snooze_is_no_look(lab: Lab) -> None:
    @lab.app.poll("video", give_up_after="1s", max_retry=0)
    async def look(ctx: Context) -> None:
        raise Snooze("5m", "a quiet hour")

    await lab.start()
    began = polling.write(polling.Polling(3, 1000.0, 1001.0))
    lab.store("t", task_type="video", headers=((polling.HEADER, began),))
    assert await lab.settled("t") == "retry"
    assert remembered(lab, "t").looks == 3
    assert due_in(lab, "t") > 290


async def test_it_gives_up_after_a_look_that_is_late_enough(lab: Lab) -> None:
    looks: list[int] = []

    @lab.app.poll("video", give_up_after="30m")
    async def look(ctx: Context) -> None:
        looks.append(ctx.look)
        raise NotYet("still encoding")

    since = time.time() - 1795
    began = polling.write(polling.Polling(200, since, since + 1800))
    lab.store("t", task_type="video", headers=((polling.HEADER, began),))
    await lab.start()
    assert await lab.settled("t") == "retry"
    # The last look is when it gives up, and not a whole delay later.
    assert due_in(lab, "t") <= 6
    await aeventually(lambda: time.time() > since + 1800, 20)
    assert await look_again(lab, "t") == "archived"
    assert lab.error("t") == "gave up after 202 looks in 30m: still encoding"
    assert looks == [201, 202]
    assert lab.raw.get(keys.failed(QUEUE)) == b"1"


async def test_brought_back_from_the_dead_it_begins_anew(lab: Lab) -> None:
    looks: list[int] = []

    @lab.app.poll("video", give_up_after="30m")
    async def look(ctx: Context) -> None:
        looks.append(ctx.look)
        raise NotYet

    began = polling.write(polling.Polling(200, 1000.0, 2800.0))
    lab.store("t", task_type="video", headers=((polling.HEADER, began),))
    await lab.start()
    assert await lab.settled("t") == "archived"
    lab.app.inspector().tasks.run(QUEUE, "t", reset_retries=True)
    assert await lab.settled("t") == "retry"
    assert looks == [201, 1]
    assert remembered(lab, "t").since > time.time() - 60


async def test_not_yet_in_a_task_that_is_no_poll_is_a_snooze(lab: Lab) -> None:
    @lab.app.task("work", max_retry=0)
    async def work(ctx: Context) -> None:
        assert ctx.look == 1
        raise NotYet("later")

    await lab.start()
    task_id, state = await lab.run("work")
    assert (state, lab.error(task_id)) == ("retry", "later")
    assert due_in(lab, task_id) <= 4
    assert lab.message(task_id).terms.headers == ()


# --- one look at a time ---


class Looking:
    """Counts who looks at the same time, for each id."""

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.looks: list[str] = []
        self._lock = threading.Lock()

    def begin(self, ctx: Context, video: str) -> None:
        with self._lock:
            self.looks.append(ctx.task_id)
            self.now[video] += 1
            self.most[video] = max(self.most[video], self.now[video])

    def end(self, video: str) -> None:
        with self._lock:
            self.now[video] -= 1


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_of_many_with_one_id_one_looks_at_a_time(lab: Lab, kind: str) -> None:
    looking = Looking()

    async def look(ctx: Context, video: str) -> None:
        looking.begin(ctx, video)
        await asyncio.sleep(0.02)
        looking.end(video)

    def look_sync(ctx: Context, video: str) -> None:
        looking.begin(ctx, video)
        time.sleep(0.02)
        looking.end(video)

    lab.configure(worker={"concurrency": 20})
    lab.app.poll("video", key="payload.video")(look if kind == "async" else look_sync)
    await lab.start()
    other = App("other", config=lab.settings(worker={"concurrency": 20}))
    other.poll("video", key="payload.video")(look if kind == "async" else look_sync)
    other.start()
    try:
        ids = [(await lab.enqueue("video", {"video": "ab"[n % 2]})).id for n in range(16)]

        def all_looked() -> bool:
            waiting = lab.raw.zrange(keys.scheduled(QUEUE), 0, -1)
            for task_id in waiting:
                lab.app.inspector().tasks.run(QUEUE, task_id.decode())
            return not lab.raw.keys("asynq:{q}:t:*")

        await aeventually(all_looked, 40)
    finally:
        other.stop()
        other.close()
    assert sorted(looking.looks) == sorted(ids), "each has looked once"
    assert looking.most == {"a": 1, "b": 1}
    assert not lab.raw.keys("qd:lock:*")


async def test_who_finds_another_looking_comes_again_after_its_delay(lab: Lab) -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    looks: list[str] = []

    @lab.app.poll("video", key="payload.video", initial_delay="5s")
    async def look(ctx: Context, video: str) -> None:
        looks.append(ctx.task_id)
        begun.set()
        await go.wait()

    await lab.start()
    first = await lab.enqueue("video", {"video": "a"})
    await soon(begun)
    second = await lab.enqueue("video", {"video": "a"})
    assert await lab.settled(second.id) == "scheduled"
    assert 3 < due_in(lab, second.id, keys.scheduled) <= 6
    view = lab.app.inspector().tasks.get(QUEUE, second.id)
    assert view.waits == ("poll", "video", "a", first.id)
    assert looks == [first.id]
    # Another id, and one without any, are nobody's business.
    other = [await lab.enqueue("video", {"video": one}) for one in ("b", "")]
    await aeventually(lambda: len(looks) == 3)
    go.set()
    for info in (first, *other):
        assert await lab.settled(info.id) == ""
    assert await look_again(lab, second.id) == ""
    assert not lab.raw.keys("qd:lock:*")


async def test_the_lock_is_given_back_after_each_look(lab: Lab) -> None:
    @lab.app.poll("video", key="payload.video", max_retry=1)
    async def look(video: str) -> None:
        if video == "fails":
            raise LookupError
        if video == "revoked":
            raise RevokeTask
        raise NotYet

    await lab.start()
    for video in ("fails", "revoked", "not yet"):
        await lab.run("video", {"video": video})
        assert not lab.raw.keys("qd:lock:*")


async def test_the_lock_is_a_named_one_of_480_seconds(lab: Lab) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    @lab.app.poll("video", key="payload.video")
    async def look(video: str) -> None:
        begun.set()
        await go.wait()

    await lab.start()
    info = await lab.enqueue("video", {"video": "a"})
    await soon(begun)
    assert owner_of(lab, "a").startswith(keys.task(QUEUE, info.id) + " ")
    assert 470 < lab.raw.ttl(keys.lock(lock_name("a"))) <= 480
    go.set()
    assert await lab.settled(info.id) == ""


async def test_who_holds_the_lock_by_hand_keeps_polls_from_looking(lab: Lab) -> None:
    @lab.app.poll("video", key="payload.video")
    async def look(video: str) -> None: ...

    link = lab.app.client._sync_link()
    assert link.execute(locks.acquire(lock_name("a"), "somebody", ttl_ms=60_000))
    await lab.start()
    task_id, state = await lab.run("video", {"video": "a"})
    assert state == "scheduled"
    assert lab.app.inspector().tasks.get(QUEUE, task_id).waits == ("poll", "video", "a", "")
    link.execute(locks.release(lock_name("a"), "somebody"))
    assert await look_again(lab, task_id) == ""


@pytest.mark.parametrize("holder", ["gone", "waits", "itself"])
async def test_the_lock_of_a_run_that_is_no_more_holds_nobody_up(lab: Lab, holder: str) -> None:
    looks: list[str] = []

    @lab.app.poll("video", key="payload.video")
    async def look(ctx: Context, video: str) -> None:
        looks.append(ctx.task_id)

    task_id = {"gone": "elsewhere", "waits": "later", "itself": "t"}[holder]
    if holder == "waits":
        await lab.enqueue("video", task_id="later", process_in="1h")
    link = lab.app.client._sync_link()
    dead = f"{keys.task(QUEUE, task_id)} run-of-a-dead-process"
    assert link.execute(locks.acquire(lock_name("a"), dead, ttl_ms=480_000))
    lab.store("t", task_type="video", payload=b'{"video":"a"}')
    await lab.start()
    assert await lab.settled("t") == ""
    assert looks == ["t"]
    assert not lab.raw.keys("qd:lock:*")


async def test_an_earlier_run_cannot_give_back_the_lock_of_a_later_one(lab: Lab) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    @lab.app.poll("video", key="payload.video")
    async def look(video: str) -> None:
        begun.set()
        await go.wait()

    await lab.start()
    info = await lab.enqueue("video", {"video": "a"})
    await soon(begun)
    # As if the task had been taken over by another worker meanwhile.
    later = f"{keys.task(QUEUE, info.id)} later"
    lab.raw.set(keys.lock(lock_name("a")), later)
    go.set()
    assert await lab.settled(info.id) == ""
    assert owner_of(lab, "a") == later


@pytest.mark.usefixtures("lively")
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_the_lock_is_extended_while_a_look_blocks_the_loop(lab: Lab, kind: str) -> None:
    """By the heartbeat, which has a thread of its own."""
    key = keys.lock(lock_name("a"))
    extended: list[bool] = []

    def look(video: str) -> None:
        lab.raw.pexpire(key, 12_000)
        until = time.monotonic() + 30
        while not extended and time.monotonic() < until:
            # Blocks its thread, in the one case that of the loop.
            time.sleep(0.05)
            if lab.raw.pttl(key) > 13_000:
                extended.append(True)

    async def alook(video: str) -> None:
        look(video)

    lab.configure(worker={"poll_lock": "16s"})
    lab.app.poll("video", key="payload.video")(look if kind == "sync" else alook)
    await lab.start()
    info = await lab.enqueue("video", {"video": "a"})
    assert await lab.settled(info.id, within=50) == ""
    assert extended


async def test_a_worker_that_stops_leaves_no_lock_that_holds_others_up(lab: Lab) -> None:
    begun = asyncio.Event()
    looks: list[str] = []

    @lab.app.poll("video", key="payload.video")
    async def look(ctx: Context, video: str) -> None:
        looks.append(ctx.task_id)
        begun.set()
        if len(looks) == 1:
            await asyncio.sleep(60)

    await lab.start()
    first = await lab.enqueue("video", {"video": "a"})
    await soon(begun)
    await lab.stop(0)
    lab.app.inspector().tasks.archive(QUEUE, first.id)
    second = await lab.enqueue("video", {"video": "a"})
    await lab.start()
    assert await lab.settled(second.id) == ""
    assert looks == [first.id, second.id]


async def test_environments_on_one_redis_do_not_wait_for_each_other(lab: Lab) -> None:
    lab.configure(queue_prefix="prod_")
    looks: list[str] = []

    @lab.app.poll("video", key="payload.video")
    async def look(ctx: Context, video: str) -> None:
        looks.append(ctx.task_id)

    link = lab.app.client._sync_link()
    link.execute(locks.acquire(lock_name("a"), "somebody of test_", ttl_ms=60_000))
    await lab.start()
    info = await lab.enqueue("video", {"video": "a"})
    await aeventually(lambda: looks == [info.id])


async def test_one_that_waits_at_a_limit_keeps_no_lock(lab: Lab) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    @lab.app.poll("video", key="payload.video", limit="one")
    async def look(video: str) -> None:
        begun.set()
        await go.wait()

    lab.configure(limits={"one": {"concurrency": 1}})
    await lab.start()
    first = await lab.enqueue("video", {"video": "a"})
    await soon(begun)
    second = await lab.enqueue("video", {"video": "b"})
    assert await lab.settled(second.id) == "scheduled"
    assert lab.app.inspector().tasks.get(QUEUE, second.id).waits[0] == "limit"
    await aeventually(lambda: not owner_of(lab, "b"))
    # One that waits for a lock, on the other hand, has not come to the limit.
    third = await lab.enqueue("video", {"video": "a"})
    assert await lab.settled(third.id) == "scheduled"
    assert lab.app.inspector().tasks.get(QUEUE, third.id).waits[0] == "poll"
    go.set()
    assert await lab.settled(first.id) == ""
    await aeventually(lambda: lab.state(second.id) == "")
    assert await look_again(lab, third.id) == ""
    assert not lab.raw.keys("qd:lock:*")


async def test_redis_away_for_a_while_costs_no_look_and_leaves_no_lock(lab: Lab) -> None:
    looks: list[str] = []

    @lab.app.poll("video", key="payload.video", max_retry=0)
    async def look(ctx: Context, video: str) -> None:
        looks.append(video)
        if ctx.look == 1:
            lab.raw.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            raise NotYet

    await lab.start()
    task_id, state = await lab.run("video", {"video": "a"})
    assert state == "retry"
    assert await look_again(lab, task_id) == ""
    assert looks == ["a", "a"]
    assert not lab.raw.keys("qd:lock:*")


# --- told that it is done ---


@pytest.mark.parametrize("form", ["sync", "async"])
async def test_one_that_waits_ends_at_once(lab: Lab, form: str) -> None:
    @lab.app.poll("video", retention="1h")
    async def look() -> None:
        raise NotYet

    await lab.start()
    info = await lab.enqueue("video")
    assert await lab.settled(info.id) == "retry"
    waiting = asyncio.create_task(info.aresult(30))
    client = lab.app.client
    if form == "sync":
        assert await asyncio.to_thread(client.poll_done, info.id, {"url": 7}) is True
    else:
        assert await client.apoll_done(info.id, {"url": 7}, queue=QUEUE) is True
    assert await waiting == {"url": 7}
    assert await client.apoll_done(info.id, {"url": 8}) is True
    assert await info.aresult(5) == {"url": 7}


async def test_one_that_has_not_looked_yet_ends_as_well_and_its_lock_is_free(lab: Lab) -> None:
    @lab.app.poll("video")
    async def look() -> None: ...

    info = await lab.enqueue("video", unique="1h")
    assert await lab.app.client.apoll_done(info.id)
    again = await lab.enqueue("video", unique="1h", process_in="1h")
    assert await lab.app.client.apoll_done(again.id)
    assert not lab.raw.keys("asynq:{q}:t:*")
    assert not lab.raw.keys("*unique*")
    assert lab.raw.get(keys.processed(QUEUE)) == b"2"


@pytest.mark.parametrize("says", ["not yet", "done", "nothing", "fails", "gives up", "skips"])
async def test_a_look_that_is_going_on_ends_it_whatever_it_says(lab: Lab, says: str) -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    moved: list[TaskMoved] = []

    @lab.app.poll("video", retention="1h", max_retry=0)
    async def look() -> str | None:
        begun.set()
        await go.wait()
        if says in ("not yet", "gives up"):
            raise NotYet
        if says == "fails":
            raise LookupError
        if says == "skips":
            raise SkipRetry
        return "of the handler" if says == "done" else None

    lab.app.on_transition(moved.append)
    await lab.start()
    if says == "gives up":
        began = polling.write(polling.Polling(3, 1000.0, 1001.0))
        info = await lab.enqueue("video", headers={polling.HEADER: began})
    else:
        info = await lab.enqueue("video")
    await soon(begun)
    assert await lab.app.client.apoll_done(info.id, "told") is False
    assert lab.state(info.id) == "active"
    go.set()
    end = await info.await_end(20)
    assert (end.state, end.value()) == ("completed", "told")
    await aeventually(lambda: moved[-1].after == "completed")
    assert lab.raw.get(keys.processed(QUEUE)) == b"1"
    assert not lab.raw.exists(keys.failed(QUEUE))


async def test_a_task_that_is_no_poll_is_left_alone(lab: Lab) -> None:
    @lab.app.task("work")
    async def work() -> None:
        raise Snooze(60)

    await lab.start()
    task_id, _ = await lab.run("work")
    with pytest.raises(WrongState, match="is of type work, which is no poll"):
        await lab.app.client.apoll_done(task_id)
    assert lab.state(task_id) == "retry"


async def test_a_program_without_handlers_can_tell(lab: Lab) -> None:
    @lab.app.poll("video")
    async def look() -> None:
        raise NotYet

    await lab.start()
    task_id, _ = await lab.run("video")
    hook = App("webhook", config=lab.settings())
    try:
        assert await asyncio.to_thread(hook.client.poll_done, task_id) is True
    finally:
        hook.close()
    assert lab.state(task_id) == ""


async def test_nobody_knows_the_id(lab: Lab) -> None:
    client = lab.app.client
    with pytest.raises(TaskNotFound, match='no task "nothing" in any queue'):
        await client.apoll_done("nothing")
    with pytest.raises(TaskNotFound, match='no task "nothing" in queue "q"'):
        await client.apoll_done("nothing", queue=QUEUE)


async def test_a_dead_one_and_one_whose_queue_is_in_doubt_are_left_alone(lab: Lab) -> None:
    client = lab.app.client
    dead = client.send_to_dead_letter("dead", {}, "why not")
    with pytest.raises(WrongState, match="is archived"):
        await client.apoll_done(dead.id)
    for queue in ("q", "r"):
        await lab.enqueue("video", task_id="twice", queue=queue)
    with pytest.raises(WrongState, match="in several queues: q, r"):
        await client.apoll_done("twice")
    assert await client.apoll_done("twice", queue="r") is True
    assert lab.state("twice") == "pending"


async def test_to_tell_all_the_time_loses_no_poll_and_ends_each_once(lab: Lab) -> None:
    """Looks and a webhook at the same time, in every order that comes."""
    looked: Counter[str] = Counter()

    @lab.app.poll("video", retention="1h", max_retry=0)
    async def look(ctx: Context) -> None:
        looked[ctx.task_id] += 1
        raise NotYet

    lab.configure(worker={"concurrency": 20})
    await lab.start()
    infos = [await lab.enqueue("video") for _ in range(200)]
    for number, info in enumerate(infos):
        await lab.app.client.apoll_done(info.id, number)
        if number % 7 == 0:
            await asyncio.sleep(0)
    for number, info in enumerate(infos):
        assert (await info.await_end(30)).value() == number
    assert max(looked.values(), default=0) <= 1
    assert lab.raw.get(keys.processed(QUEUE)) == b"200"
    assert not lab.raw.exists(keys.active(QUEUE), keys.retry(QUEUE), keys.pending(QUEUE))
