"""Fixture `asynq`: the real asynq on this test's empty server. Skips where it cannot be built."""

from __future__ import annotations

import contextlib

import pytest

from tests.compat.asynq import Asynq
from tests.compat.asynq_build import GoUnavailableError, build, program
from tests.support.servers import RedisServer


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test, whose time limit a cold compilation would exceed."""
    wanted = any("asynq" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not session.config.option.collectonly:
        # The tests themselves say why they are skipped.
        with contextlib.suppress(GoUnavailableError):
            build("asynqctl")
            build("asynq")


@pytest.fixture
def asynq(server: RedisServer) -> Asynq:
    program("asynqctl")
    return Asynq(server.url, tcp=f"127.0.0.1:{server.port}")
