"""Circuit breakers over several worker processes, some of which die."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from qd.broker.connect import open_link
from qd.protocol import keys
from qd.protocol.ops import breakers
from qd.protocol.ops.breakers import Shown
from tests.process.daemon import QUEUE, Daemon
from tests.support.wait import eventually

pytestmark = pytest.mark.process

APP = "tests.process.apps.breaker"


def start(daemon: Daemon, **settings: object) -> None:
    daemon.configure(
        worker={"processes": 4, "concurrency": 1},
        breakers={"sms": {"types": ["sms"], **settings}},
    )
    daemon.start(app=APP)


def shown(daemon: Daemon) -> Shown | None:
    link = open_link(daemon.app.connection.endpoint)
    try:
        found = link.execute(breakers.show("sms"))
    finally:
        link.close()
    return found[0] if found else None


def state(daemon: Daemon) -> str:
    found = shown(daemon)
    return "closed" if found is None else found.state


def touch(daemon: Daemon, name: str) -> Path:
    path = daemon.folder / name
    path.touch()
    return path


def test_it_opens_after_exactly_the_threshold_over_all_processes(daemon: Daemon) -> None:
    start(daemon, open="1h")
    touch(daemon, "down")
    hold = touch(daemon, "hold")
    for _ in range(4):
        daemon.enqueue("sms", max_retry=0)
    daemon.wait_for("start", count=4)
    assert len({one.pid for one in daemon.events("start")}) == 4
    hold.unlink()
    # Four failures, one in each process: not enough, and the next task may start.
    eventually(lambda: (found := shown(daemon)) is not None and found.failures == 4)
    assert state(daemon) == "closed"
    daemon.enqueue("sms", max_retry=0)
    eventually(lambda: state(daemon) == "open")
    assert len(daemon.events("fail")) == 5
    waiting = [daemon.enqueue("sms", max_retry=0) for _ in range(30)]
    others = [daemon.enqueue("fine") for _ in range(10)]
    daemon.wait_for("ran", count=len(others))
    eventually(lambda: daemon.raw.zcard(keys.scheduled(QUEUE)) == len(waiting))
    assert len(daemon.events("start")) == 5
    eventually(daemon.nothing_held)


def test_processes_killed_while_it_is_half_open_leave_it_neither_stuck_nor_open(
    daemon: Daemon,
) -> None:
    start(daemon, open="1s")
    down = touch(daemon, "down")
    for _ in range(5):
        daemon.enqueue("sms", max_retry=0)
    eventually(lambda: state(daemon) == "open")
    hold = touch(daemon, "hold")
    ids = {daemon.enqueue("sms", max_retry=0) for _ in range(60)}
    # Three at a time try, each in a process of its own; all of these die, twice.
    before = len(daemon.events("start"))
    daemon.wait_for("start", count=before + 3, within=20)
    for _ in range(2):
        tries = daemon.events("start")[-3:]
        assert len({one.id for one in tries}) == 3
        count = len(daemon.events("start"))
        for pid in {one.pid for one in tries}:
            os.kill(pid, signal.SIGKILL)
        daemon.wait_for("start", count=count + 3, within=30)
    down.unlink()
    hold.unlink()
    eventually(lambda: {one.id for one in daemon.events("end")} == ids, 60)
    assert state(daemon) == "closed"
    eventually(lambda: not daemon.raw.keys("qd:{breaker:sms}:[btl]*"))
