"""`App.start()`: a worker inside another program."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from qd import App, Context
from qd.errors import BrokerUnavailable, QdError
from qd.protocol import keys
from qd.protocol.orders import Verb
from tests.support.procs import open_files_of
from tests.support.servers import RedisServer
from tests.support.wait import eventually

MakeApp = Callable[..., App]


def qd_threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("qd-")]


def test_it_runs_tasks_until_stopped(app: App, raw: redis.Redis) -> None:
    client: Any = raw
    seen: list[Any] = []

    @app.task("sync")
    def work(n: int) -> None:
        seen.append((n, threading.current_thread() is threading.main_thread()))

    @app.task("async")
    async def awork(n: int) -> None:
        seen.append((n, threading.current_thread() is threading.main_thread()))

    app.start()
    work.enqueue(n=1)
    eventually(lambda: seen == [(1, False)])
    awork.enqueue(n=2)
    eventually(lambda: seen == [(1, False), (2, False)])
    app.stop()
    assert not client.exists(keys.SERVERS, keys.SCHEDULERS)
    eventually(lambda: qd_threads() == [])
    work.enqueue(n=3)
    assert client.llen(keys.pending("default")) == 1


def test_stopping_leaves_no_connection_open(app: App) -> None:
    done = threading.Event()

    @app.task("parent")
    async def parent() -> None:
        await app.client.aenqueue("child")

    @app.task("child")
    async def child() -> None:
        done.set()

    app.client.enqueue("parent")
    before = open_files_of(os.getpid())
    app.start()
    assert done.wait(5)
    app.stop()
    assert open_files_of(os.getpid()) == before


def test_starting_twice_is_one_worker_and_stopping_twice_is_nothing(
    app: App, raw: redis.Redis
) -> None:
    client: Any = raw
    app.start()
    app.start()
    eventually(lambda: client.zcard(keys.SERVERS) == 1)
    app.stop()
    app.stop()


def test_an_operator_stops_it_and_it_can_be_started_again(app: App, raw: redis.Redis) -> None:
    client: Any = raw
    for _ in range(2):
        app.start()
        eventually(lambda: len(app.inspector().servers.list()) == 1)
        [server] = app.inspector().servers.list()
        app.inspector().servers.tell(server, Verb.STOP)
        eventually(lambda: qd_threads() == [])
        assert not client.exists(keys.SERVERS, keys.SCHEDULERS)
    app.stop()


def test_it_can_be_started_again(app: App) -> None:
    seen: list[int] = []

    @app.task("work")
    def work(n: int) -> None:
        seen.append(n)

    for n in range(2):
        app.start()
        work.enqueue(n=n)
        eventually(lambda n=n: seen == list(range(n + 1)))
        app.stop()


def test_running_tasks_get_their_time_and_the_rest_is_put_back(
    make_app: MakeApp, raw: redis.Redis
) -> None:
    client: Any = raw
    app = make_app(queues={"default": 1}, worker={"shutdown_timeout": "200ms"})
    started = threading.Event()

    @app.task("endless")
    def endless(ctx: Context) -> None:
        started.set()
        while True:
            time.sleep(0.005)

    app.start()
    info = endless.enqueue()
    assert started.wait(5)
    app.stop()
    assert client.hget(keys.task("default", info.id), "state") == b"pending"


def test_delayed_and_periodic_tasks_run_without_another_process(make_app: MakeApp) -> None:
    app = make_app(queues={"default": 1})
    seen: list[str] = []

    @app.schedule("@every 1s", name="tick")
    @app.task("tick")
    def tick() -> None:
        seen.append("tick")

    @app.task("later")
    def later() -> None:
        seen.append("later")

    app.start()
    later.options(process_in="1s").enqueue()
    eventually(lambda: {"tick", "later"} <= set(seen), 5)


def test_without_the_scheduler_nothing_is_forwarded(make_app: MakeApp, raw: redis.Redis) -> None:
    client: Any = raw
    app = make_app(queues={"default": 1}, scheduler={"enabled": False})
    app.start()
    eventually(lambda: client.zcard(keys.SERVERS) == 1)
    assert not client.exists(keys.SCHEDULERS)


def test_a_start_without_redis_says_so_and_may_be_tried_again(
    app: App, server: RedisServer
) -> None:
    server.stop()
    with pytest.raises(BrokerUnavailable):
        app.start()
    eventually(lambda: qd_threads() == [])
    app.stop()
    server.start()
    seen: list[int] = []
    app.register_handler("work", lambda: seen.append(1))
    app.start()
    app.client.enqueue("work")
    eventually(lambda: seen == [1])


def test_a_startup_hook_that_fails_is_raised_and_leaves_nothing(app: App, raw: redis.Redis) -> None:
    client: Any = raw

    @app.on_startup
    def connect() -> None:
        raise ConnectionError("no database")

    with pytest.raises(ConnectionError, match="no database"):
        app.start()
    eventually(lambda: qd_threads() == [])
    assert not client.exists(keys.SERVERS)
    app.stop()


def test_a_schedule_that_cannot_be_started_takes_the_worker_with_it(
    make_app: MakeApp, raw: redis.Redis
) -> None:
    client: Any = raw
    app = make_app(queues={"default": 1}, payload_limit="1KiB")
    app.schedule("@daily", payload={"text": "x" * 5000})(
        app.task("big")(lambda: None)  # type: ignore[arg-type]
    )
    with pytest.raises(QdError):
        app.start()
    eventually(lambda: qd_threads() == [])
    assert not client.exists(keys.SERVERS)


def test_a_handler_that_exits_stops_neither_worker_nor_program(app: App) -> None:
    seen: list[int] = []

    @app.task("exit")
    async def leave() -> None:
        async def inner() -> None:
            sys.exit(3)

        await asyncio.create_task(inner())

    app.register_handler("work", lambda: seen.append(1))
    app.start()
    info = leave.enqueue()
    eventually(lambda: app.inspector().tasks.find(info.id).state == "retry")
    app.client.enqueue("work")
    eventually(lambda: seen == [1])
