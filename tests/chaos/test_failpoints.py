"""A process dies or fails at one step of the protocol: no task is lost, and none is charged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.chaos.sweep import SHORT, Armed, pass_through
from tests.process.daemon import JOBS, Daemon
from tests.support.servers import RedisServer

pytestmark = [pytest.mark.process, pytest.mark.timeout(150)]


@pytest.fixture
def daemon(server: RedisServer, raw: redis.Redis, tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(server, raw, tmp_path)
    yield daemon
    daemon.close()


@pytest.mark.parametrize("armed", SHORT, ids=str)
def test_afterwards_all_is_as_if_nothing_had_happened(daemon: Daemon, armed: Armed) -> None:
    """Some of the points; `make chaos` goes through all of them."""
    assert pass_through(daemon, armed) == []


def test_a_fail_point_that_does_not_exist_is_refused_before_anything_is_started(
    daemon: Daemon,
) -> None:
    proc = daemon.command("worker", "--app", JOBS, env={"QD_FAILPOINT": "dequeue.befor:kill"})
    assert proc.wait(10) == 78
    assert 'Did you mean "dequeue.before"?' in proc.err.text()
    assert not proc.err.all("started")
