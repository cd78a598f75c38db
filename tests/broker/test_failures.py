"""Every refusal that Redis knows becomes the right error, and the link works on afterwards."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from qd.broker.connect import open_async_link, open_link
from qd.broker.endpoint import Endpoint, Topology
from qd.broker.failures import TABLE, Row
from qd.broker.link import Link
from qd.errors import BrokerFull, BrokerRefused, BrokerUnavailable
from qd.protocol import keys
from qd.protocol.op import Op, command, text
from qd.protocol.ops import tasks
from tests.support.builders import Queue, new
from tests.support.servers import RedisServer
from tests.support.wait import eventually

LINES = {
    "LOADING": "LOADING Redis is loading the dataset in memory",
    "MASTERDOWN": "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "CLUSTERDOWN": "CLUSTERDOWN The cluster is down",
    "TRYAGAIN": "TRYAGAIN Multiple keys request during rehashing of slot",
    "BUSY": "BUSY Redis is busy running a script. You can only call SCRIPT KILL.",
    "MISCONF": "MISCONF Redis is configured to save RDB snapshots, but cannot persist on disk.",
    "NOREPLICAS": "NOREPLICAS Not enough good replicas to write.",
    "max number of clients": "ERR max number of clients reached",
    "READONLY": "READONLY You can't write against a read only replica.",
    "OOM": "OOM command not allowed when used memory > 'maxmemory'.",
    "NOAUTH": "NOAUTH Authentication required.",
    "WRONGPASS": "WRONGPASS invalid username-password pair or user is disabled.",
    "NOPERM": "NOPERM User x has no permissions to run the 'get' command",
    "WRONGTYPE": "WRONGTYPE Operation against a key holding the wrong kind of value",
    "MOVED": "MOVED 3999 127.0.0.1:6381",
}


def ping() -> Op[str]:
    return command("PING", [], [], text)


def test_the_lines_below_cover_the_whole_table() -> None:
    assert set(LINES) == {row.prefix for row in TABLE}


@contextmanager
def answering(*answers: str) -> Iterator[Endpoint]:
    """A server that gives one answer after the other, over as many connections as it takes."""
    left = list(answers)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                connection, _ = listener.accept()
                with connection:
                    if not left:
                        return
                    while left and connection.recv(4096):
                        connection.sendall(left.pop(0).encode())

        thread = threading.Thread(target=serve)
        thread.start()
        port = listener.getsockname()[1]
        try:
            yield Endpoint(Topology.SINGLE, nodes=(("127.0.0.1", port),), call_timeout=2.0)
        finally:
            left.clear()
            socket.create_connection(("127.0.0.1", port)).close()
            thread.join(5)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.prefix)
def test_a_refusal_is_told_as_what_it_is_and_the_link_works_on(row: Row) -> None:
    with answering(f"-{LINES[row.prefix]}\r\n", "+PONG\r\n") as endpoint:
        link = open_link(endpoint)
        with pytest.raises(row.error) as caught:
            link.execute(ping())
        assert caught.value.hint == row.hint
        assert LINES[row.prefix].removeprefix("ERR ") in str(caught.value)
        assert link.execute(ping()) == "PONG"
        link.close()


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.prefix)
async def test_a_refusal_is_the_same_to_asynchronous_code(row: Row) -> None:
    with answering(f"-{LINES[row.prefix]}\r\n", "+PONG\r\n") as endpoint:
        link = open_async_link(endpoint)
        with pytest.raises(row.error) as caught:
            await link.execute(ping())
        assert caught.value.hint == row.hint
        assert await link.execute(ping()) == "PONG"
        await link.close()


def test_an_unknown_refusal_is_refused_with_its_text() -> None:
    with answering("-ERR something new\r\n") as endpoint:
        link = open_link(endpoint)
        with pytest.raises(BrokerRefused, match="something new"):
            link.execute(ping())
        link.close()


def test_a_full_server_is_full(link: Link, server: RedisServer) -> None:
    with server.configured(maxmemory="1"), pytest.raises(BrokerFull):
        link.execute(tasks.enqueue("mail", [new("t1")], now_ns=1))


def test_a_busy_script_is_unavailable_until_it_is_killed(link: Link, server: RedisServer) -> None:
    link.execute(ping())
    endless = threading.Thread(target=_swallow, args=(server, "EVAL", "while true do end", 0))
    with server.configured(busy_reply_threshold="1"):
        endless.start()
        eventually(lambda: _is_busy(link))
        server.command("SCRIPT", "KILL")
        endless.join()
        assert link.execute(ping()) == "PONG"


def _swallow(server: RedisServer, *words: str | int) -> None:
    with pytest.raises(redis.ResponseError, match="killed"):
        server.command(*words)


def _is_busy(link: Link) -> bool:
    try:
        link.execute(ping())
    except BrokerUnavailable as error:
        assert "blocks the server" in error.hint  # noqa: PT017 - one of several looks
        return True
    return False


def test_a_wrong_password_is_refused(server: RedisServer, endpoint: Endpoint) -> None:
    server.add_user("app", "right", "+@all", "~*")
    link = open_link(_login(endpoint, "app", "wrong"))
    with pytest.raises(BrokerRefused) as caught:
        link.execute(ping())
    assert caught.value.hint == "Check redis.username and redis.password."
    assert "wrong" not in str(caught.value).replace("WRONGPASS", "")
    link.close()


def test_a_missing_login_is_refused(endpoint: Endpoint) -> None:
    with RedisServer("--requirepass", "secret") as locked:
        link = open_link(_at(locked))
        with pytest.raises(BrokerRefused) as caught:
            link.execute(ping())
        assert "redis.password" in caught.value.hint
        right = open_link(_login(_at(locked), "", "secret"))
        assert right.execute(ping()) == "PONG"
        right.close()
        link.close()


def test_too_many_clients_are_unavailable_until_one_has_left() -> None:
    with (
        RedisServer("--maxclients", "1") as small,
        small.client(single_connection_client=True) as c,
    ):
        c.ping()
        link = open_link(_at(small))
        # Without a hint if the server has hung up before the question was written.
        with pytest.raises(BrokerUnavailable):
            link.execute(ping())
        c.close()
        eventually(lambda: _pong(link))
        link.close()


def _pong(link: Link) -> bool:
    try:
        return link.execute(ping()) == "PONG"
    except BrokerUnavailable:
        return False


def test_a_replica_refuses_writes(queue: Queue, server: RedisServer) -> None:
    server.command("REPLICAOF", "127.0.0.1", 1)
    try:
        with pytest.raises(BrokerUnavailable, match="READONLY"):
            queue.enqueue("t1")
    finally:
        server.command("REPLICAOF", "NO", "ONE")
    assert queue.enqueue("t1") == [None]


def test_too_few_replicas_are_unavailable(queue: Queue, server: RedisServer) -> None:
    with server.configured(min_replicas_to_write="1"), pytest.raises(BrokerUnavailable) as caught:
        queue.enqueue("t1")
    assert "replicas" in caught.value.hint


def test_a_key_of_another_type_is_refused(queue: Queue, raw: redis.Redis) -> None:
    raw.set(keys.pending("mail"), "x")
    with pytest.raises(BrokerRefused, match="WRONGTYPE"):
        queue.enqueue("t1")


def test_a_server_that_is_not_there_is_named_once(tmp_path: Path) -> None:
    endpoint = Endpoint(Topology.SINGLE, path=str(tmp_path / "nobody.sock"), call_timeout=1.0)
    with pytest.raises(BrokerUnavailable) as caught:
        open_link(endpoint).execute(ping())
    assert str(caught.value).count("nobody.sock") == 1, caught.value
    assert str(caught.value).endswith(": No such file or directory.")


def _at(server: RedisServer) -> Endpoint:
    return Endpoint(Topology.SINGLE, path=str(server.socket_path), call_timeout=1.0)


def _login(endpoint: Endpoint, username: str, password: str) -> Endpoint:
    return Endpoint(
        endpoint.topology,
        path=endpoint.path,
        username=username,
        password=password,
        call_timeout=1.0,
    )
