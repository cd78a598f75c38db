"""The relay does the harm it is asked for, and none besides."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import redis

from qd.broker.connect import open_async_link, open_link, open_node_link
from qd.broker.endpoint import Endpoint, Topology
from qd.broker.link import Link
from qd.errors import BrokerUnavailable
from qd.protocol import keys
from qd.protocol.op import command, text
from qd.protocol.ops import tasks
from qd.protocol.ops.tasks import Refused
from tests.chaos.relay import Loss, Relay
from tests.support.builders import new
from tests.support.servers import PLAIN, RedisServer
from tests.support.wait import aeventually, eventually


@pytest.fixture
def relay(server: RedisServer) -> Iterator[Relay]:
    with Relay(server.socket_path) as relay:
        yield relay


@pytest.fixture
def client(relay: Relay) -> Iterator[redis.Redis]:
    with redis.Redis(port=relay.port, socket_timeout=5, **PLAIN) as client:
        yield client


@pytest.fixture
def endpoint(relay: Relay) -> Endpoint:
    return Endpoint(Topology.SINGLE, nodes=(("127.0.0.1", relay.port),), call_timeout=2.0)


@pytest.fixture
def link(endpoint: Endpoint) -> Iterator[Link]:
    link = open_link(endpoint)
    yield link
    link.close()


def test_it_carries_bytes_unchanged_however_many(relay: Relay, client: redis.Redis) -> None:
    values = {f"k{n}": bytes(range(256)) * n for n in (0, 1, 1000)}
    with client.pipeline(transaction=False) as pipe:
        for name, value in values.items():
            pipe.set(name, value).get(name).hgetall("none").zrange("none", 0, -1)
        answers = pipe.execute()
    assert answers[1::4] == list(values.values())
    assert relay.answered["GET"] == len(values)


def test_the_answer_that_was_named_is_lost_after_the_server_carried_it_out(
    relay: Relay, client: redis.Redis, raw: redis.Redis
) -> None:
    relay.lose_answer("APPEND", nth=2, times=2)
    assert client.append("a", "x") == 1
    for _ in range(2):
        client.get("a")
        with pytest.raises(redis.ConnectionError):
            client.append("a", "x")
    assert client.append("a", "x") == 4
    assert raw.get("a") == b"xxxx"
    assert relay.lost == {"APPEND": 2}


def test_answers_ahead_of_a_lost_one_arrive(relay: Relay) -> None:
    with redis.Redis(port=relay.port, **PLAIN) as client:
        connection = client.connection_pool.get_connection()
        relay.lose_answer("INCR", nth=2)
        connection.send_packed_command(connection.pack_commands([["INCR", "a"]] * 3))
        assert connection.read_response() == 1
        with pytest.raises(redis.ConnectionError):
            connection.read_response()
        client.connection_pool.release(connection)


def test_a_script_is_known_by_its_name_and_a_server_that_does_not_know_it_gives_no_answer(
    relay: Relay, link: Link, raw: redis.Redis
) -> None:
    raw.script_flush()
    relay.lose_answer("enqueue")
    with pytest.raises(BrokerUnavailable):
        link.execute(tasks.enqueue("mail", [new("t1")], now_ns=1))
    assert relay.lost == {"enqueue": 1}
    assert raw.lrange(keys.pending("mail"), 0, -1) == [b"t1"]
    assert link.execute(tasks.enqueue("mail", [new("t1")], now_ns=1)) == [Refused(state="pending")]


async def test_a_silent_connection_stays_open_and_says_nothing(
    relay: Relay, endpoint: Endpoint
) -> None:
    link = open_async_link(endpoint)
    await link.connect()
    relay.lose_answer("PING", loss=Loss.SILENCE)
    with pytest.raises(BrokerUnavailable, match="nothing came"):
        await link.execute(command("PING", [], [], text))
    assert await link.execute(command("PING", [], [], text)) == "PONG"
    await link.close()


async def test_what_the_server_sends_unasked_is_not_taken_for_an_answer(
    relay: Relay, endpoint: Endpoint, raw: redis.Redis
) -> None:
    pushed: list[object] = []
    greeting = [("CLIENT", "TRACKING", "ON"), ("SUBSCRIBE", "news")]
    link = open_node_link(endpoint, greeting=greeting, on_push=pushed.append)
    assert await link.execute(command("GET", ["a"], [], text)) == "None"
    raw.set("a", "1")
    await aeventually(lambda: len(pushed) == 1)
    relay.lose_answer("GET")
    with pytest.raises(BrokerUnavailable):
        await link.execute(command("GET", ["a"], [], text))
    assert relay.lost == {"GET": 1}
    await link.close()


def test_connections_that_were_cut_are_gone_and_new_ones_work(relay: Relay) -> None:
    address = ("127.0.0.1", relay.port)
    with socket.create_connection(address, 5) as old, socket.create_connection(address, 5) as other:
        for one in (old, other):
            one.sendall(b"*1\r\n$4\r\nPING\r\n")
            assert one.recv(100) == b"+PONG\r\n"
        relay.cut()
        for one in (old, other):
            with suppress(ConnectionResetError):
                assert one.recv(100) == b""
    with redis.Redis(port=relay.port, **PLAIN) as client:
        assert client.ping()


def test_while_it_refuses_nobody_gets_in_and_those_inside_go_on(
    relay: Relay, client: redis.Redis
) -> None:
    client.ping()
    relay.refuse()
    assert client.ping()
    with redis.Redis(port=relay.port, **PLAIN) as late:
        with pytest.raises(redis.ConnectionError):
            late.ping()
        relay.accept()
        assert late.ping()


def test_held_commands_reach_the_server_once_they_are_released(
    relay: Relay, client: redis.Redis, raw: redis.Redis
) -> None:
    client.ping()
    relay.hold()
    sender = threading.Thread(target=client.set, args=("a", "1"))
    sender.start()
    sender.join(0.1)
    assert sender.is_alive()
    assert raw.get("a") is None
    relay.release()
    sender.join()
    assert raw.get("a") == b"1"


def test_answers_can_be_late(relay: Relay, client: redis.Redis) -> None:
    client.ping()
    relay.delay(0.05)
    started = time.monotonic()
    client.ping()
    assert time.monotonic() - started >= 0.05


def test_a_server_that_is_away_looks_away_through_it(
    relay: Relay, client: redis.Redis, server: RedisServer
) -> None:
    client.ping()
    server.kill()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    server.start()
    assert eventually(client.ping)
