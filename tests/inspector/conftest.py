"""An inspector on a real server, a clock that stands still, and a queue to look at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
import redis

from qd.broker.connect import open_link
from qd.broker.endpoint import parse_addresses
from qd.broker.link import Link
from qd.inspector.inspector import Inspector
from tests.inspector.stored import NOW, Store


class Clock:
    """The present, moved by the test."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def link(redis_url: str) -> Iterator[Link]:
    with closing(open_link(parse_addresses([redis_url]))) as link:
        yield link


@pytest.fixture
def inspector(link: Link, clock: Clock) -> Inspector:
    return Inspector(link, clock=clock)


@pytest.fixture
def store(raw: redis.Redis) -> Store:
    return Store(raw)
