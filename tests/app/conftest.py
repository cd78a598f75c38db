"""Applications on the Redis of the test, closed with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from qd import App

MakeApp = Callable[..., App]


@pytest.fixture
def make_app(redis_url: str) -> Iterator[MakeApp]:
    """Make an application with these settings beside the address of Redis."""
    made: list[App] = []

    def make(**settings: Any) -> App:
        app = App("shop", config={"redis": {"addrs": [redis_url]}, **settings})
        made.append(app)
        return app

    yield make
    for app in made:
        app.stop()
        app.close()


@pytest.fixture
def app(make_app: MakeApp) -> App:
    return make_app(queues={"default": 1})
