"""Enqueueing as applications do it: one or many, from synchronous or asynchronous code."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from qd.client.builder import TaskBuilder
from qd.client.client import Client, NewEnqueue
from qd.client.info import TaskInfo
from qd.errors import (
    BrokerFull,
    BrokerRefused,
    BrokerUnavailable,
    DuplicateTask,
    InvalidName,
    PayloadTooLarge,
    TaskIdConflict,
    UsageError,
)
from qd.handlers.options import TaskOptions
from qd.protocol import codec, keys
from qd.protocol.message import TaskMessage
from qd.protocol.state import TaskState
from tests.support.procs import open_files_of
from tests.support.servers import RedisServer
from tests.support.snapshot import snapshot
from tests.support.wait import aeventually

FORMS = ["enqueue", "aenqueue", "enqueue_many", "aenqueue_many", "builder", "abuilder"]


@pytest.fixture(params=FORMS)
def enqueue(request: pytest.FixtureRequest, client: Client) -> Any:
    """Each way to enqueue one task; all of them must do the same."""

    async def run(task_type: str, payload: Any = None, **options: Any) -> TaskInfo:
        if request.param == "enqueue":
            return client.enqueue(task_type, payload, **options)
        if request.param == "aenqueue":
            return await client.aenqueue(task_type, payload, **options)
        builder = TaskBuilder(client, task_type).payload(payload)
        for name, value in options.items():
            builder = getattr(builder, name)(value)
        if request.param == "builder":
            return builder.enqueue()
        if request.param == "abuilder":
            return await builder.aenqueue()
        new = [NewEnqueue(task_type, payload, TaskOptions.of(**options))]
        many = (
            client.enqueue_many(new)
            if request.param == "enqueue_many"
            else await client.aenqueue_many(new)
        )
        if isinstance(many[0], TaskInfo):
            return many[0]
        raise many[0]

    return run


def stored(raw: redis.Redis, info: TaskInfo) -> TaskMessage:
    found = raw.hget(keys.task(info.queue, info.id), "msg")
    assert isinstance(found, bytes)
    return codec.decode_task(found)


async def test_a_task_is_pending_at_once_and_its_queue_is_known(
    enqueue: Any, raw: redis.Redis
) -> None:
    info = await enqueue("email:send", {"to": "a"})
    assert (info.type, info.queue, info.state) == ("email:send", "default", TaskState.PENDING)
    assert info.next_at == pytest.approx(time.time(), abs=5)
    found = snapshot(raw)
    since = int(found[keys.task("default", info.id)].pop("pending_since"))
    assert since / 1e9 == pytest.approx(time.time(), abs=5)
    assert found == {
        "asynq:queues": {"default"},
        "asynq:{default}:pending": [info.id],
        keys.task("default", info.id): {
            "msg": codec.encode_task(stored(raw, info)),
            "state": b"pending",
        },
    }
    assert stored(raw, info).payload == b'{"to":"a"}'


async def test_all_options_arrive(enqueue: Any, raw: redis.Redis) -> None:
    deadline = datetime.now(UTC) + timedelta(days=1)
    info = await enqueue(
        "email:send",
        b"x",
        queue="low",
        max_retry=3,
        timeout="90s",
        deadline=deadline,
        process_in="1h",
        task_id="t1",
        unique="10m",
        retention="1d",
        group="g1",
        headers={"trace": "1"},
    )
    assert (info.id, info.queue, info.state) == ("t1", "low", TaskState.SCHEDULED)
    terms = stored(raw, info).terms
    assert (terms.max_retry, terms.timeout, terms.deadline) == (3, 90, int(deadline.timestamp()))
    assert (terms.retention, terms.group, terms.headers) == (86400, "g1", (("trace", "1"),))
    lock = keys.unique("low", "email:send", b"x")
    assert terms.unique_key == lock
    assert 600 + 3500 < raw.ttl(lock) <= 600 + 3600
    score = raw.zscore(keys.scheduled("low"), "t1")
    assert score == int(info.next_at)
    assert raw.hget(keys.task("low", "t1"), "group") == b"g1"


async def test_a_group_collects(enqueue: Any, raw: redis.Redis) -> None:
    info = await enqueue("email:send", group="g1")
    assert (info.state, info.next_at, info.next_process_at) == (TaskState.AGGREGATING, None, None)
    assert raw.zrange(keys.group("default", "g1"), 0, -1) == [info.id.encode()]


async def test_the_options_of_a_type_hold_unless_others_are_given(
    enqueue: Any, raw: redis.Redis
) -> None:
    info = await enqueue("report", timeout="2h", headers={"a": "b"})
    terms = stored(raw, info).terms
    assert (info.queue, terms.timeout) == ("slow", 7200)
    assert dict(terms.headers) == {"kind": "report", "a": "b"}


async def test_an_equal_task_is_refused_by_the_name_of_the_other(
    enqueue: Any, raw: redis.Redis
) -> None:
    first = await enqueue("email:send", b"x", unique="1h")
    before = snapshot(raw)
    with pytest.raises(DuplicateTask, match=first.id) as caught:
        await enqueue("email:send", b"x", unique="1h")
    assert caught.value.holder == first.id
    assert f"qd task show {first.id}" in caught.value.hint
    assert snapshot(raw) == before
    assert await enqueue("email:send", b"y", unique="1h")


async def test_an_id_in_use_is_refused_by_the_state_of_the_other(
    enqueue: Any, raw: redis.Redis
) -> None:
    await enqueue("email:send", task_id="t1", process_in="1h")
    before = snapshot(raw)
    with pytest.raises(TaskIdConflict, match=r"t1.*scheduled") as caught:
        await enqueue("other", task_id="t1", unique="1h")
    assert (caught.value.holder, caught.value.state) == ("t1", "scheduled")
    assert snapshot(raw) == before


@pytest.mark.parametrize(
    ("options", "payload", "error"),
    [
        ({}, b"x" * 1001, PayloadTooLarge),
        ({"queue": "a{b"}, b"", InvalidName),
        ({"timeout": "5"}, b"", UsageError),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_what_cannot_be_sent_is_refused_and_nothing_is_sent(
    enqueue: Any, raw: redis.Redis, options: Any, payload: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await enqueue("email:send", payload, **options)
    assert snapshot(raw) == {}


async def test_a_full_server_refuses(enqueue: Any, server: RedisServer) -> None:
    with server.configured(maxmemory="1"), pytest.raises(BrokerFull):
        await enqueue("email:send")


async def test_a_server_that_is_away_is_unavailable_and_then_works(
    enqueue: Any, server: RedisServer
) -> None:
    server.kill()
    with pytest.raises(BrokerUnavailable):
        await enqueue("email:send")
    server.start()
    assert await enqueue("email:send")


def mixed() -> list[NewEnqueue]:
    return [
        NewEnqueue("a", b"1", TaskOptions.of(task_id="t1")),
        NewEnqueue("a", b"x" * 2000),
        NewEnqueue("a", b"2", TaskOptions.of(task_id="t2", queue="low")),
        NewEnqueue("a", b"3", TaskOptions.of(task_id="t1")),
        NewEnqueue("a", b"4", TaskOptions.of(task_id="t3", process_in=60)),
        NewEnqueue("a", b"5", TaskOptions.of(task_id="t4", group="g")),
        NewEnqueue(" ", b"6"),
        NewEnqueue("a", b"7", TaskOptions.of(task_id="t5", unique=60)),
        NewEnqueue("a", b"7", TaskOptions.of(task_id="t6", unique=60)),
    ]


@pytest.mark.parametrize("form", ["sync", "async"])
async def test_many_have_a_result_each_in_order(client: Client, form: str) -> None:
    found = client.enqueue_many(mixed()) if form == "sync" else await client.aenqueue_many(mixed())
    assert [one.id if isinstance(one, TaskInfo) else type(one) for one in found] == [
        "t1",
        PayloadTooLarge,
        "t2",
        TaskIdConflict,
        "t3",
        "t4",
        InvalidName,
        "t5",
        DuplicateTask,
    ]


def calls(raw: redis.Redis) -> dict[str, int]:
    """How often each command was called."""
    stats: Any = raw.info("commandstats")
    return {name.removeprefix("cmdstat_"): found["calls"] for name, found in stats.items()}


@pytest.mark.parametrize("form", ["sync", "async"])
async def test_a_thousand_are_sent_in_a_few_steps(
    client: Client, raw: redis.Redis, form: str
) -> None:
    new = [NewEnqueue("a", b"%d" % n, TaskOptions.of(task_id=f"t{n}")) for n in range(1200)]
    client.enqueue("a")
    raw.config_resetstat()
    found = client.enqueue_many(new) if form == "sync" else await client.aenqueue_many(new)
    assert [getattr(one, "id", None) for one in found] == [f"t{n}" for n in range(1200)]
    assert calls(raw)["evalsha"] == 5
    assert raw.lrange(keys.pending("default"), 0, -2) == [b"t%d" % n for n in range(1199, -1, -1)]


async def test_what_coroutines_enqueue_in_one_turn_goes_out_together(
    client: Client, raw: redis.Redis
) -> None:
    await client.aenqueue("warm")
    raw.config_resetstat()
    found = await asyncio.gather(*(client.aenqueue("a", b"%d" % n) for n in range(100)))
    assert len({one.id for one in found}) == 100
    counted = calls(raw)
    assert (counted["evalsha"], counted["sadd"]) == (1, 1)
    assert [stored(raw, one).payload for one in found] == [b"%d" % n for n in range(100)]


async def test_coroutines_that_share_a_round_trip_do_not_share_errors(
    client: Client, raw: redis.Redis
) -> None:
    raw.set(keys.pending("broken"), "not a list")
    found = await asyncio.gather(
        client.aenqueue("a", task_id="t1"),
        client.aenqueue("a", queue="broken"),
        client.aenqueue("a", task_id="t1"),
        client.aenqueue("a", queue="low"),
        return_exceptions=True,
    )
    assert [type(one) for one in found] == [TaskInfo, BrokerRefused, TaskIdConflict, TaskInfo]


@pytest.mark.parametrize("form", ["sync", "async"])
async def test_of_many_only_those_of_a_broken_queue_fail(
    client: Client, raw: redis.Redis, form: str
) -> None:
    raw.set(keys.pending("broken"), "not a list")
    new = [NewEnqueue("a", b"", TaskOptions.of(queue=name)) for name in ("low", "broken", "low")]
    found = client.enqueue_many(new) if form == "sync" else await client.aenqueue_many(new)
    assert [type(one) for one in found] == [TaskInfo, BrokerRefused, TaskInfo]


async def test_a_cancelled_enqueue_does_not_cancel_its_neighbours(client: Client) -> None:
    first = asyncio.create_task(client.aenqueue("a"))
    second = asyncio.create_task(client.aenqueue("a"))
    await asyncio.sleep(0)
    first.cancel()
    assert isinstance(await second, TaskInfo)


async def test_closing_sends_what_was_begun(client: Client, raw: redis.Redis) -> None:
    begun = asyncio.create_task(client.aenqueue("a", task_id="t1"))
    await asyncio.sleep(0)
    await client.aclose()
    assert (await begun).id == "t1"
    assert raw.llen(keys.pending("default")) == 1


def test_each_event_loop_gets_a_connection_of_its_own(client: Client, raw: redis.Redis) -> None:
    async def once() -> None:
        await client.aenqueue("a")
        await client.aclose()

    asyncio.run(once())
    asyncio.run(once())
    assert raw.llen(keys.pending("default")) == 2


async def test_loops_of_several_threads_each_keep_one_connection(
    client: Client, server: RedisServer
) -> None:
    def connections() -> int:
        return len(server.command("CLIENT", "LIST", "TYPE", "NORMAL").splitlines())

    other = asyncio.new_event_loop()
    thread = threading.Thread(target=other.run_forever)
    thread.start()
    try:
        alone = connections()
        for _ in range(5):
            await client.aenqueue("a")
            future = asyncio.run_coroutine_threadsafe(client.aenqueue("a"), other)
            await asyncio.wrap_future(future)
        assert connections() == alone + 2
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(client.aclose(), other))
        await aeventually(lambda: connections() == alone + 1)
    finally:
        other.call_soon_threadsafe(other.stop)
        await asyncio.to_thread(thread.join)
        other.close()


def test_what_is_left_open_is_closed_with_its_loop(client: Client) -> None:
    before = open_files_of(os.getpid())
    asyncio.run(client.aenqueue("a"))
    assert open_files_of(os.getpid()) == before


def test_threads_share_a_client(client: Client, raw: redis.Redis) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: client.enqueue("a", b"%d" % n), range(200)))
    assert len({one.id for one in found}) == raw.llen(keys.pending("default")) == 200
