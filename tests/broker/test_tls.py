"""Encrypted connections: the right authority, the wrong one, and a client certificate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from qd.broker.connect import open_async_link, open_link
from qd.broker.endpoint import Endpoint, Tls, Topology, parse_addresses
from qd.errors import BrokerUnavailable
from qd.protocol.op import Op, command, text
from qd.protocol.ops import tasks
from tests.support.certificates import make_certificates
from tests.support.servers import TlsServer, free_port
from tests.support.wait import eventually


def ping() -> Op[str]:
    return command("PING", [], [], text)


def endpoint(server: TlsServer, tls: Tls | None) -> Endpoint:
    return parse_addresses([server.tls_url], tls=tls, call_timeout=2.0)


async def pong(server: TlsServer, tls: Tls) -> list[str]:
    """What both kinds of link get."""
    link, async_link = open_link(endpoint(server, tls)), open_async_link(endpoint(server, tls))
    try:
        return [link.execute(ping()), await async_link.execute(ping())]
    finally:
        link.close()
        await async_link.close()


async def test_a_server_with_the_right_authority_is_trusted(tls_server: TlsServer) -> None:
    assert await pong(tls_server, Tls(ca_file=str(tls_server.ca))) == ["PONG", "PONG"]


async def test_a_client_certificate_is_shown(tls_server: TlsServer) -> None:
    tls = Tls(str(tls_server.ca), str(tls_server.client_cert), str(tls_server.client_key))
    with tls_server.configured(tls_auth_clients="yes"):
        assert await pong(tls_server, tls) == ["PONG", "PONG"]
        with pytest.raises(BrokerUnavailable):
            await pong(tls_server, Tls(ca_file=str(tls_server.ca)))


async def test_insecure_trusts_anybody(tls_server: TlsServer) -> None:
    assert await pong(tls_server, Tls(insecure=True)) == ["PONG", "PONG"]


async def test_a_wrong_authority_is_not_trusted(tls_server: TlsServer, tmp_path: Path) -> None:
    make_certificates(tmp_path)
    wrong = endpoint(tls_server, Tls(ca_file=str(tmp_path / "ca.crt")))
    link, async_link = open_link(wrong), open_async_link(wrong)
    with pytest.raises(BrokerUnavailable, match="certificate verify failed"):
        link.execute(ping())
    with pytest.raises(BrokerUnavailable, match="certificate verify failed"):
        await async_link.execute(ping())
    await async_link.close()


def test_without_a_ca_file_the_systems_authorities_decide(tls_server: TlsServer) -> None:
    link = open_link(endpoint(tls_server, None))
    with pytest.raises(BrokerUnavailable, match="certificate verify failed"):
        link.execute(ping())


def test_a_ca_file_that_is_missing_is_told_by_name(tls_server: TlsServer, tmp_path: Path) -> None:
    link = open_link(endpoint(tls_server, Tls(ca_file=str(tmp_path / "no.crt"))))
    with pytest.raises(BrokerUnavailable):
        link.execute(ping())


@pytest.fixture(scope="module")
def cluster_endpoint(tls_redis_server: TlsServer) -> Iterator[Endpoint]:
    """A cluster of one node, which speaks TLS to nodes and clients."""
    bus = ("--cluster-port", str(free_port()))
    args = ("--cluster-enabled", "yes", "--tls-cluster", "yes", *bus)
    with TlsServer(*args, binary=Path(tls_redis_server._binary)) as node:
        node.command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        eventually(lambda: b"cluster_state:ok" in node.command("CLUSTER", "INFO"))
        tls = Tls(ca_file=str(node.ca))
        yield Endpoint(Topology.CLUSTER, nodes=(("127.0.0.1", node.port),), tls=tls)


@pytest.mark.parametrize("_", range(10))
async def test_a_cluster_is_reached_at_the_first_attempt(
    cluster_endpoint: Endpoint, _: int
) -> None:
    """A server sends session tickets right after the handshake; they are no answer to anything."""
    link, async_link = open_link(cluster_endpoint), open_async_link(cluster_endpoint)
    assert link.execute(tasks.arm("a")) == await async_link.execute(tasks.arm("a")) == 0
    link.close()
    await async_link.close()


@pytest.fixture(scope="module")
def sentinel_endpoint(tls_redis_server: TlsServer) -> Iterator[Endpoint]:
    """A sentinel that speaks TLS, and knows a master that does."""
    tls_redis_server.reset()
    binary = Path(tls_redis_server._binary)
    with TlsServer("--sentinel", "--tls-replication", "yes", binary=binary, config="") as one:
        one.command("SENTINEL", "MONITOR", "main", "127.0.0.1", tls_redis_server.port, 1)
        yield Endpoint(
            Topology.SENTINEL,
            nodes=(("127.0.0.1", one.port),),
            master="main",
            tls=Tls(insecure=True),
        )


@pytest.mark.parametrize("_", range(10))
async def test_sentinels_are_asked_at_the_first_attempt(
    sentinel_endpoint: Endpoint, _: int
) -> None:
    link, async_link = open_link(sentinel_endpoint), open_async_link(sentinel_endpoint)
    assert link.execute(ping()) == await async_link.execute(ping()) == "PONG"
    link.close()
    await async_link.close()


def test_sentinels_that_all_refuse_are_told_with_their_reasons(
    sentinel_endpoint: Endpoint,
) -> None:
    link = open_link(replace(sentinel_endpoint, tls=Tls()))
    with pytest.raises(BrokerUnavailable, match="certificate verify failed") as caught:
        link.execute(ping())
    assert "sentinels running" in caught.value.hint
