"""Encrypted connections: the right authority, the wrong one, and a client certificate."""

from __future__ import annotations

from pathlib import Path

import pytest

from qd.broker.connect import open_async_link, open_link
from qd.broker.endpoint import Endpoint, Tls, parse_addresses
from qd.errors import BrokerUnavailable
from qd.protocol.op import Op, command, text
from tests.support.certificates import make_certificates
from tests.support.servers import TlsServer


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
