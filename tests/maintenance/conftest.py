"""A laboratory for the scheduler's loops: a link, ways to make tasks, and to look at them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis

from qd.broker.connect import open_async_link
from qd.broker.endpoint import Endpoint, parse_addresses
from tests.maintenance.lab import Lab
from tests.support.servers import RedisServer


@pytest.fixture
def endpoint(server: RedisServer) -> Endpoint:
    return parse_addresses([server.url])


@pytest.fixture
async def lab(endpoint: Endpoint, raw: redis.Redis) -> AsyncIterator[Lab]:
    link = open_async_link(endpoint)
    yield Lab(link, raw)
    await link.close()
