"""Sentinels name the master, and links follow it when another server takes over."""

from __future__ import annotations

import time

import pytest
import redis

from qd.broker.connect import open_async_link, open_link
from qd.broker.endpoint import parse_addresses
from qd.errors import BrokerUnavailable
from qd.protocol.op import Op, command, text
from tests.support.server_groups import SentinelServers
from tests.support.servers import RedisServer
from tests.support.wait import aeventually, eventually


def port() -> Op[str]:
    return command("CONFIG GET", [], ["port"], lambda reply: text(reply[1]))


def write(value: str) -> Op[str]:
    return command("SET", ["qd:test"], [value], text)


def follow(node: RedisServer, master: RedisServer) -> bool:
    """Make a server a replica; the sentinels would do it too, but wait eight seconds first."""
    try:
        node.command("REPLICAOF", "127.0.0.1", master.port)
    except redis.ConnectionError:
        # They cut all connections of a server that they reconfigure.
        return False
    return True


def handed_over(sentinel: SentinelServers, before: RedisServer) -> bool:
    """Whether another server is the master; asks for that as long as none is."""
    if sentinel.master() is not before:
        return True
    try:
        sentinel.sentinels[0].command("SENTINEL", "FAILOVER", sentinel.name)
    except redis.ResponseError as error:
        # Under way already, or right after another one.
        assert str(error).startswith(("INPROG", "NOGOODSLAVE"))  # noqa: PT017 - any other is news
    return False


def url(sentinel: SentinelServers, name: str) -> str:
    return f"redis-sentinel://{','.join(sentinel.addrs)}?master={name}"


def test_the_master_is_found(sentinel: SentinelServers) -> None:
    link = open_link(parse_addresses([url(sentinel, sentinel.name)]))
    assert link.execute(port()) == str(sentinel.master().port)
    link.close()


async def test_sentinels_that_are_down_are_passed_over_at_once(sentinel: SentinelServers) -> None:
    addresses = f"redis-sentinel://127.0.0.1:1,{sentinel.addrs[0]}?master={sentinel.name}"
    endpoint = parse_addresses([addresses])
    link, async_link = open_link(endpoint), open_async_link(endpoint)
    began = time.monotonic()
    assert link.execute(port()) == str(sentinel.master().port)
    assert await async_link.execute(port()) == str(sentinel.master().port)
    assert time.monotonic() - began < 5
    link.close()
    await async_link.close()


async def test_an_unknown_name_is_told(sentinel: SentinelServers) -> None:
    endpoint = parse_addresses([url(sentinel, "nobody")])
    link, async_link = open_link(endpoint), open_async_link(endpoint)
    with pytest.raises(BrokerUnavailable, match="no master named 'nobody'") as caught:
        link.execute(port())
    assert "redis.sentinel.master" in caught.value.hint
    with pytest.raises(BrokerUnavailable, match="no master named 'nobody'"):
        await async_link.execute(port())
    link.close()
    await async_link.close()


async def test_links_follow_the_master_when_another_takes_over(sentinel: SentinelServers) -> None:
    endpoint = parse_addresses([url(sentinel, sentinel.name)], call_timeout=1.0)
    link, async_link = open_link(endpoint), open_async_link(endpoint)
    before = sentinel.master()
    assert link.execute(write("a")) == "OK"
    assert await async_link.execute(write("b")) == "OK"
    before.kill()
    eventually(lambda: sentinel.master() is not before, within=20)
    after = str(sentinel.master().port)

    def written() -> bool:
        try:
            return link.execute(write("c")) == "OK"
        except BrokerUnavailable:
            return False

    async def async_written() -> bool:
        try:
            return await async_link.execute(write("d")) == "OK"
        except BrokerUnavailable:
            return False

    eventually(written, within=10)
    await aeventually(async_written, within=10)
    assert link.execute(port()) == after
    assert await async_link.execute(port()) == after
    link.close()
    await async_link.close()


async def test_a_master_that_became_a_replica_is_left(sentinel: SentinelServers) -> None:
    """The old connection still works and refuses to write: it must be given up."""
    endpoint = parse_addresses([url(sentinel, sentinel.name)], call_timeout=1.0)
    link, async_link = open_link(endpoint), open_async_link(endpoint)
    link.execute(write("a"))
    await async_link.execute(write("a"))
    before = sentinel.master()
    eventually(lambda: handed_over(sentinel, before), within=20)
    eventually(lambda: follow(before, sentinel.master()), within=20)

    async def both() -> bool:
        try:
            return (link.execute(write("b")), await async_link.execute(write("c"))) == ("OK", "OK")
        except BrokerUnavailable:
            return False

    await aeventually(both, within=10)
    assert link.execute(port()) == str(sentinel.master().port)
    link.close()
    await async_link.close()
