"""Waiting for the end of a task: told by Redis, not asked for again and again."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest
import redis

from qd import App, SkipRetry
from qd.errors import PayloadError, TaskFailed, TimedOut, UsageError
from qd.handlers.context import Context
from qd.protocol.state import TaskState
from tests.support.server_groups import ClusterServers
from tests.support.servers import RedisServer
from tests.support.wait import eventually

WITHIN = 20.0


def application(*addresses: str) -> App:
    app = App("wait", config={"redis": {"addrs": list(addresses)}, "queues": {"default": 1}})
    go = app.extra_go = threading.Event()  # type: ignore[attr-defined]

    @app.task("add", retention="1h")
    async def add(a: int, b: int) -> int:
        return a + b

    @app.task("held", retention="1h")
    def held() -> str:
        go.wait(WITHIN)
        return "let go"

    @app.task("refuses")
    async def refuses() -> None:
        raise SkipRetry("never")

    @app.task("gone")
    async def gone() -> None: ...

    @app.task("raw", retention="1h")
    async def raw(ctx: Context) -> bytes:
        return b"\xff"

    return app


@pytest.fixture
def app(server: RedisServer) -> Iterator[App]:
    app = application(server.url)
    app.start()
    yield app
    app.extra_go.set()  # type: ignore[attr-defined]
    app.stop()
    app.close()


def test_the_result_of_a_handler_comes_back(app: App) -> None:
    info = app.client.enqueue("add", {"a": 2, "b": 3}, retention="1h")
    assert info.result(WITHIN) == 5
    # Also for those who come late.
    assert info.wait(WITHIN).state is TaskState.COMPLETED


async def test_the_same_for_coroutines(app: App) -> None:
    info = await app.client.aenqueue("add", {"a": 2, "b": 4}, retention="1h")
    assert await info.aresult(WITHIN) == 6
    await app.client.aclose()


def test_what_is_not_kept_is_gone(app: App) -> None:
    end = app.client.enqueue("gone").wait(WITHIN)
    assert (end.state, end.result, end.value()) == (None, None, None)


def test_a_dead_task_raises_its_last_error(app: App) -> None:
    info = app.client.enqueue("refuses")
    assert info.wait(WITHIN).state is TaskState.ARCHIVED
    with pytest.raises(TaskFailed, match="never"):
        info.result(WITHIN)


def test_bytes_that_are_no_json_are_there_as_bytes(app: App) -> None:
    end = app.client.enqueue("raw", retention="1h").wait(WITHIN)
    assert end.result == b"\xff"
    with pytest.raises(PayloadError, match="no JSON"):
        end.value()


def test_the_wait_ends_with_the_time_and_the_task_goes_on(app: App) -> None:
    info = app.client.enqueue("held", retention="1h")
    eventually(lambda: app.inspector().tasks.get("default", info.id).state == "active", WITHIN)
    with pytest.raises(TimedOut, match="still active after 300ms"):
        info.wait(0.3)
    app.extra_go.set()  # type: ignore[attr-defined]
    assert info.result(WITHIN) == "let go"


async def test_waiting_on_a_loop_says_how_to_do_it(app: App) -> None:
    info = await app.client.aenqueue("gone")
    with pytest.raises(UsageError, match="block the event loop"):
        info.wait(1)
    await app.client.aclose()


def test_a_long_wait_asks_nothing_while_nothing_changes(app: App, raw: redis.Redis) -> None:
    info = app.client.enqueue("held", retention="1h")
    eventually(lambda: app.inspector().tasks.get("default", info.id).state == "active", WITHIN)

    def connections() -> dict[str, int]:
        """Commands that each connection with tracking has sent so far."""
        clients = [one for one in raw.client_list() if "t" in one["flags"]]
        return {one["id"]: int(one["tot-cmds"]) for one in clients}

    before = connections().keys()
    ends: list[object] = []
    waiter = threading.Thread(target=lambda: ends.append(info.result(WITHIN)))
    waiter.start()

    def asked() -> int:
        return sum(count for one, count in connections().items() if one not in before)

    # Greetings, tracking, one look.
    eventually(lambda: asked() >= 3, WITHIN)
    first = asked()
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > 1.5)
    assert asked() == first
    app.extra_go.set()  # type: ignore[attr-defined]
    waiter.join(WITHIN)
    assert ends == ["let go"]


def test_a_restart_of_redis_is_survived(server: RedisServer) -> None:
    with RedisServer("--appendonly", "yes") as own:
        app = application(own.url)
        app.start()
        info = app.client.enqueue("held", retention="1h")
        eventually(lambda: app.inspector().tasks.get("default", info.id).state == "active", WITHIN)

        async def wait() -> object:
            waiting = asyncio.ensure_future(info.aresult(WITHIN))
            await asyncio.sleep(0.2)
            own.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            app.extra_go.set()  # type: ignore[attr-defined]
            return await waiting

        assert asyncio.run(wait()) == "let go"
        app.stop()
        app.close()


def test_on_a_cluster_the_task_is_looked_at_after_short_pauses(cluster: ClusterServers) -> None:
    app = application(*cluster.addrs)
    app.start()
    try:
        assert app.client.enqueue("add", {"a": 1, "b": 1}, retention="1h").result(WITHIN) == 2
    finally:
        app.stop()
        app.close()
