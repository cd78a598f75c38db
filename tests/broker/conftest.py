"""Links to the server of the tests, and a queue to work on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from qd.broker.async_link import AsyncNodeLink
from qd.broker.connect import open_link, open_node_link
from qd.broker.endpoint import Endpoint, Topology
from qd.broker.link import Link
from tests.support.builders import Queue
from tests.support.servers import RedisServer


@pytest.fixture
def endpoint(server: RedisServer) -> Endpoint:
    return Endpoint(Topology.SINGLE, path=str(server.socket_path), call_timeout=1.0)


@pytest.fixture
def link(endpoint: Endpoint) -> Iterator[Link]:
    link = open_link(endpoint)
    yield link
    link.close()


@pytest.fixture
async def async_link(endpoint: Endpoint) -> AsyncIterator[AsyncNodeLink]:
    link = open_node_link(endpoint)
    yield link
    await link.close()


@pytest.fixture
def queue(link: Link) -> Queue:
    return Queue(link)
