"""A link for asynchronous code, against a real server that is paused, killed and restarted."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis

from qd.broker.async_link import AsyncNodeLink
from qd.broker.connect import open_node_link
from qd.broker.endpoint import Endpoint
from qd.errors import BrokerRefused, BrokerUnavailable
from qd.protocol import keys
from qd.protocol.op import Op, command
from qd.protocol.ops import locks, tasks
from tests.support.servers import RedisServer
from tests.support.wait import aeventually

CALL_TIMEOUT = 1.0
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def echo(value: str | bytes) -> Op[bytes]:
    return command("ECHO", [], [value], bytes)


@contextlib.asynccontextmanager
async def tcp_server(serve: Serve) -> AsyncIterator[Endpoint]:
    """A server that does to each connection what `serve` does."""
    running: list[asyncio.Task[Any]] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.append(task)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    from qd.broker.endpoint import Topology

    yield Endpoint(Topology.SINGLE, nodes=(("127.0.0.1", port),), call_timeout=CALL_TIMEOUT)
    server.close()
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_many_coroutines_on_one_link_each_get_their_own_answer(
    async_link: AsyncNodeLink, server: RedisServer
) -> None:
    async def ask(number: int) -> None:
        size = 1 + number * 997 % 20_000
        assert await async_link.execute(echo(f"{number}:".ljust(size, "x"))) == (
            f"{number}:".ljust(size, "x").encode()
        )

    await asyncio.gather(*(ask(number) for number in range(500)))
    clients = server.command("CLIENT", "LIST").splitlines()
    assert len([line for line in clients if b"cmd=echo" in line]) == 1


async def test_a_cancelled_caller_leaves_the_stream_intact(
    async_link: AsyncNodeLink, server: RedisServer
) -> None:
    await async_link.connect()
    server.pause()
    first = asyncio.create_task(async_link.execute(echo("first")))
    second = asyncio.create_task(async_link.execute(echo("second")))
    await asyncio.sleep(0)
    first.cancel()
    server.resume()
    assert await second == b"second"
    assert await async_link.execute(echo("third")) == b"third"


async def test_a_caller_cancelled_while_the_server_reads_nothing_harms_no_other(
    async_link: AsyncNodeLink, server: RedisServer
) -> None:
    """More than the socket takes is waiting to be written when the caller gives up."""
    await async_link.connect()
    server.pause()
    before = asyncio.create_task(async_link.execute(echo("before")))
    await asyncio.sleep(0)
    large = asyncio.create_task(async_link.execute(echo(b"x" * 8_000_000)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    large.cancel()
    after = asyncio.create_task(async_link.execute(echo("after")))
    await asyncio.sleep(0)
    server.resume()
    assert await before == b"before"
    assert await after == b"after"


async def test_a_caller_cancelled_while_connecting_leaves_a_link_that_works(
    async_link: AsyncNodeLink, server: RedisServer
) -> None:
    caller = asyncio.create_task(async_link.execute(echo("x")))
    await asyncio.sleep(0)
    caller.cancel()
    assert await asyncio.gather(caller, return_exceptions=True)
    await aeventually(lambda: async_link._connection is not None)
    server.command("CLIENT", "KILL", "TYPE", "NORMAL")
    await aeventually(lambda: async_link._connection is None)
    async with asyncio.timeout(3 * CALL_TIMEOUT):
        assert await async_link.execute(echo("again")) == b"again"


async def test_a_connection_closed_at_once_fails_every_call_and_mixes_up_none() -> None:
    """Calls that waited for a connection which was gone when they came to use it."""
    refuse = 3

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal refuse
        if refuse:
            refuse -= 1
            return
        while data := await reader.read(65536):
            for part in data.split(b"*2\r\n")[1:]:
                writer.write(part.split(b"\r\n", 2)[2])

    async with tcp_server(serve) as endpoint:
        link = open_node_link(endpoint)
        try:
            for _ in range(4):
                async with asyncio.timeout(3 * CALL_TIMEOUT):
                    answers = await asyncio.gather(
                        *(link.execute(echo(str(n))) for n in range(5)), return_exceptions=True
                    )
                for number, answer in enumerate(answers):
                    assert answer == str(number).encode() or isinstance(answer, BrokerUnavailable)
            assert answers == [b"0", b"1", b"2", b"3", b"4"]
        finally:
            await link.close()


async def test_a_paused_server_is_unavailable_within_the_call_timeout_and_then_works_again(
    async_link: AsyncNodeLink, server: RedisServer
) -> None:
    await async_link.connect()
    server.pause()
    began = time.monotonic()
    answers = await asyncio.gather(
        *(async_link.execute(echo(str(n))) for n in range(3)), return_exceptions=True
    )
    assert time.monotonic() - began < CALL_TIMEOUT + 5
    assert [type(one) for one in answers] == [BrokerUnavailable] * 3
    server.resume()
    assert await async_link.execute(echo("x")) == b"x"


async def test_a_login_that_is_not_answered_ends_with_the_call_timeout(
    endpoint: Endpoint, server: RedisServer
) -> None:
    """A paused server's kernel accepts connections all the same."""
    link = open_node_link(endpoint, on_push=lambda _: None)
    server.pause()
    with pytest.raises(BrokerUnavailable):
        async with asyncio.timeout(5 * CALL_TIMEOUT):
            await link.connect()
    server.resume()
    await link.connect()
    await link.close()


async def test_answers_that_came_while_the_loop_was_blocked_are_not_overdue(
    async_link: AsyncNodeLink,
) -> None:
    await async_link.connect()
    call = asyncio.create_task(async_link.execute(echo("x")))
    await asyncio.sleep(0)
    time.sleep(CALL_TIMEOUT + 0.1)  # noqa: ASYNC251 - a handler that blocks the loop
    assert await call == b"x"


async def test_the_link_connects_again_after_a_restart(
    async_link: AsyncNodeLink, server: RedisServer
) -> None:
    assert await async_link.execute(echo("x")) == b"x"
    server.kill()
    with pytest.raises(BrokerUnavailable):
        await async_link.execute(echo("x"))
    server.start()
    assert await async_link.execute(echo("x")) == b"x"


async def test_a_script_the_server_has_forgotten_is_sent_again(
    async_link: AsyncNodeLink, server: RedisServer, raw: redis.Redis
) -> None:
    raw.set(keys.lock("a"), "me")
    ops: list[Op[Any]] = [echo("1"), locks.release("a", "me"), tasks.arm("mail"), echo("2")]
    assert await async_link.execute_many(ops) == [b"1", True, 0, b"2"]
    server.command("SCRIPT", "FLUSH")
    assert await async_link.execute_many(ops) == [b"1", False, 0, b"2"]


async def test_execute_each_puts_an_error_where_its_answer_would_stand(
    async_link: AsyncNodeLink, raw: redis.Redis
) -> None:
    raw.set(keys.pending("mail"), "not a list")
    ops: list[Op[Any]] = [echo("1"), tasks.arm("mail"), echo("2")]
    first, error, second = await async_link.execute_each(ops)
    assert (first, second) == (b"1", b"2")
    assert isinstance(error, BrokerRefused)
    with pytest.raises(BrokerRefused):
        await async_link.execute_many(ops)
    assert await async_link.execute(echo("x")) == b"x"


async def test_what_the_server_sends_unasked_reaches_the_listener(
    endpoint: Endpoint, raw: redis.Redis
) -> None:
    heard: list[list[Any]] = []
    link = open_node_link(
        endpoint,
        greeting=[("CLIENT", "TRACKING", "ON"), ("SUBSCRIBE", keys.CANCEL_CHANNEL)],
        on_push=heard.append,
    )
    try:
        assert await link.execute(tasks.arm("mail")) == 0
        raw.lpush(keys.pending("mail"), "t1")
        raw.publish(keys.CANCEL_CHANNEL, "t2")
        await aeventually(lambda: len(heard) >= 2)
        assert [b"invalidate", [keys.pending("mail").encode()]] in heard
        assert [b"message", keys.CANCEL_CHANNEL.encode(), b"t2"] in heard
        assert await link.execute(tasks.arm("mail")) == 1
    finally:
        await link.close()


async def test_losing_the_connection_is_told_once_and_closing_it_is_not(
    endpoint: Endpoint, server: RedisServer
) -> None:
    lost: list[bool] = []
    link = open_node_link(endpoint, on_push=lambda _: None, on_lost=lambda: lost.append(True))
    await link.connect()
    server.command("CLIENT", "KILL", "TYPE", "NORMAL")
    await aeventually(lambda: lost)
    await link.connect()
    await link.close()
    assert lost == [True]


async def test_closing_while_connecting_leaves_nothing_open(
    endpoint: Endpoint, server: RedisServer
) -> None:
    link = open_node_link(endpoint, on_push=lambda _: None)
    connecting = asyncio.create_task(link.connect())
    await asyncio.sleep(0)
    await link.close()
    with pytest.raises(BrokerUnavailable):
        await connecting
    await aeventually(lambda: len(server.command("CLIENT", "LIST").splitlines()) == 1)


async def test_an_answer_nobody_asked_for_breaks_the_connection_and_is_given_to_nobody() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"-ERR max number of clients reached\r\n")
        await reader.read(1)

    async with tcp_server(serve) as endpoint:
        lost = asyncio.Event()
        link = open_node_link(endpoint, on_lost=lost.set)
        await link.connect()
        async with asyncio.timeout(CALL_TIMEOUT):
            await lost.wait()
        await link.close()
