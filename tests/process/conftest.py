"""Fixtures for tests with real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.process.daemon import Daemon
from tests.support.servers import RedisServer


@pytest.fixture
def daemon(server: RedisServer, raw: redis.Redis, tmp_path: Path) -> Iterator[Daemon]:
    """Starts `qd worker` and its kin; all of them are ended with the test."""
    daemon = Daemon(server, raw, tmp_path)
    yield daemon
    daemon.close()
