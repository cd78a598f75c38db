"""With `concurrency: 1`, synchronous handlers have the main thread, and nothing else suffers from it."""

from __future__ import annotations

import signal

import pytest

from tests.process.daemon import Daemon, workers_of
from tests.support.wait import eventually

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def one_at_a_time(daemon: Daemon) -> None:
    daemon.worker(concurrency=1, shutdown_timeout="300ms", hard_grace="1s")


def test_handlers_may_do_what_only_the_main_thread_may(daemon: Daemon) -> None:
    proc = daemon.start()
    before = workers_of(proc)
    ids = [
        daemon.enqueue(kind) for kind in ("alarm", "fine", "slow:sync", "alarm") for _ in range(5)
    ]
    assert [daemon.settled(task_id) for task_id in ids] == [""] * 20
    assert len(daemon.events("rang")) == 10
    assert workers_of(proc) == before


@pytest.mark.parametrize("kind", ["stuck", "spins", "hold"])
def test_term_puts_back_what_does_not_end(daemon: Daemon, kind: str) -> None:
    proc = daemon.start()
    task_id = daemon.enqueue(kind)
    daemon.wait_for("start", task_id)
    proc.signal(signal.SIGTERM)
    assert proc.wait(10) == 0
    assert (daemon.state(task_id), daemon.retried(task_id)) == ("pending", 0)
    assert not proc.err.all("killed by")


def test_a_process_without_work_stops_when_told_to(daemon: Daemon) -> None:
    proc = daemon.start()
    assert daemon.settled(daemon.enqueue("slow:sync")) == ""
    proc.signal(signal.SIGTERM)
    assert proc.wait(10) == 0


def test_a_time_limit_is_raised_in_the_handler(daemon: Daemon) -> None:
    proc = daemon.start()
    before = workers_of(proc)
    task_id = daemon.enqueue("spins", timeout=1)
    assert daemon.settled(task_id) == "retry"
    assert "deadline" in daemon.error(task_id)
    assert workers_of(proc) == before, "it has listened, so that its process goes on"
    ids = [daemon.enqueue("alarm") for _ in range(4)]
    assert [daemon.settled(one) for one in ids] == [""] * 4


def test_a_handler_that_does_not_listen_has_its_process_replaced(daemon: Daemon) -> None:
    proc = daemon.start()
    before = workers_of(proc)
    task_id = daemon.enqueue("stuck", timeout=1)
    assert daemon.settled(task_id) == "retry"
    eventually(lambda: len(workers_of(proc)) == 3 and workers_of(proc) != before, 15)
    assert daemon.settled(daemon.enqueue("alarm")) == ""


def test_a_cancelled_handler_ends(daemon: Daemon) -> None:
    daemon.start()
    task_id = daemon.enqueue("spins")
    daemon.wait_for("start", task_id)
    daemon.app.inspector().tasks.cancel(task_id)
    assert daemon.settled(task_id) == "retry"


def test_signals_arrive_while_a_handler_blocks(daemon: Daemon) -> None:
    daemon.worker(concurrency=1, shutdown_timeout="60s")
    proc = daemon.start()
    task_id = daemon.enqueue("loops")
    daemon.wait_for("start", task_id)
    idle = daemon.enqueue("stuck")
    daemon.wait_for("start", idle)
    proc.signal(signal.SIGTERM)
    eventually(lambda: {info.status for info in daemon.servers()} >= {"stopped"})
    proc.signal(signal.SIGTERM)
    assert proc.wait(20) == 0
    assert daemon.state(idle) == "pending"
