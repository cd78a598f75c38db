"""A laboratory for the runtime: `lab`, with one worker in the test's loop."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis

from qd.protocol import constants
from qd.runtime import worker
from tests.runtime.lab import Lab
from tests.unit.observability.conftest import _logging_as_before

__all__ = ["_logging_as_before", "lab", "lively"]


@pytest.fixture
async def lab(redis_url: str, raw: redis.Redis) -> AsyncIterator[Lab]:
    lab = Lab(redis_url, raw)
    yield lab
    await lab.close()


@pytest.fixture
def lively(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heart beats every second: for tests that wait until it has done so by itself."""
    for module in (constants, worker):
        monkeypatch.setattr(module, "HEARTBEAT", 1)
