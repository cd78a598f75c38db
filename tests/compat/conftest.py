"""
Fixtures of the compatibility suites.

    asynq           the real asynq on this test's empty server; skips where it cannot be built
    steps           a session of it, kept for the whole test
    peer            qd on the same server
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compat.asynq import Asynq, Steps
from tests.compat.asynq_build import GoUnavailableError, build, program
from tests.compat.peer import Peer
from tests.support.servers import RedisServer

_PROGRAMS = {"asynq": ("asynqctl", "asynq"), "asynqmon": ("asynqmonctl",)}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test, whose time limit a cold compilation would exceed."""
    fixtures = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    if session.config.option.collectonly:
        return
    # The tests themselves say why they are skipped.
    with contextlib.suppress(GoUnavailableError):
        for fixture, programs in _PROGRAMS.items():
            if fixture in fixtures:
                for name in programs:
                    build(name)


@pytest.fixture
def asynq(server: RedisServer) -> Asynq:
    program("asynqctl")
    return Asynq(server.url, tcp=f"127.0.0.1:{server.port}")


@pytest.fixture
def steps(asynq: Asynq) -> Iterator[Steps]:
    with asynq.steps() as session:
        yield session


@pytest.fixture
def peer(server: RedisServer, tmp_path: Path) -> Iterator[Peer]:
    with contextlib.closing(Peer([server.url], tmp_path)) as made:
        yield made
