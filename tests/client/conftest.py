"""A client on the server of the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from qd.broker.connect import open_async_link, open_link
from qd.broker.endpoint import Endpoint, Topology
from qd.client.client import Client
from qd.client.compose import Composer
from qd.handlers.options import NO_OPTIONS, TaskOptions
from tests.support.servers import RedisServer

OF_TYPE = {"report": TaskOptions.of(queue="slow", timeout="1h", headers={"kind": "report"})}


def make_client(endpoint: Endpoint, *, queue_prefix: str = "") -> Client:
    return Client(
        Composer(NO_OPTIONS, queue_prefix=queue_prefix, payload_limit=1000),
        link=lambda: open_link(endpoint),
        async_link=lambda: open_async_link(endpoint),
        options_of=lambda task_type: OF_TYPE.get(task_type, NO_OPTIONS),
    )


@pytest.fixture
def endpoint(server: RedisServer) -> Endpoint:
    return Endpoint(Topology.SINGLE, path=str(server.socket_path), call_timeout=1.0)


@pytest.fixture
async def client(endpoint: Endpoint) -> AsyncIterator[Client]:
    client = make_client(endpoint)
    yield client
    client.close()
    await client.aclose()
