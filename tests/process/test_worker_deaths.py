"""Processes die, in every way there is: no task is lost, none is charged, the daemon lives."""

from __future__ import annotations

import os
import signal
import time

import pytest

from qd.protocol import keys
from tests.process.daemon import JOBS, QUEUE, Daemon, workers_of
from tests.support.procs import Proc, wait_until_gone
from tests.support.wait import eventually

pytestmark = pytest.mark.process

READY_SCHEDULER = r"scheduler \(pid \d+\) is ready"


def still_works(daemon: Daemon, proc: Proc) -> None:
    """Other tasks run, and after a while everything that was wanted is there."""
    ids = [daemon.enqueue("fine") for _ in range(10)]
    for task_id in ids:
        assert daemon.settled(task_id) == ""
    eventually(lambda: len(workers_of(proc)) == 3, 15)


@pytest.mark.parametrize("task_type", ["exit", "exit:async", "exit:subtask"])
def test_a_handler_that_calls_sys_exit_is_retried_in_a_living_process(
    daemon: Daemon, task_type: str
) -> None:
    proc = daemon.start()
    before = workers_of(proc)
    task_id = daemon.enqueue(task_type)
    assert daemon.settled(task_id) == "retry"
    assert daemon.error(task_id) == "RuntimeError: handler raised SystemExit(3)"
    still_works(daemon, proc)
    assert workers_of(proc) == before


@pytest.mark.parametrize("task_type", ["die", "segfault"])
def test_a_task_that_kills_its_process_twice_is_archived_as_poison(
    daemon: Daemon, task_type: str
) -> None:
    proc = daemon.start()
    task_id = daemon.enqueue(task_type)
    others = [daemon.enqueue("slow", {"seconds": 0.2}) for _ in range(10)]
    assert daemon.settled(task_id) == "archived"
    assert len(daemon.events("start", task_id)) == 2
    assert daemon.retried(task_id) == 0
    for other in others:
        assert daemon.settled(other) == "", "nobody else is blamed"
    # On its record stands how the process died.
    cause = daemon.raw.hget(keys.task(QUEUE, task_id), "qd_cause").decode()
    assert {"die": "exit code 9", "segfault": "SIGSEGV"}[task_type] in cause
    still_works(daemon, proc)


def test_a_handler_that_blocks_the_loop_for_ever_is_ended_by_the_watchdog(daemon: Daemon) -> None:
    daemon.worker(watchdog="1s")
    proc = daemon.start()
    task_id = daemon.enqueue("blocks")
    daemon.wait_for("start", task_id)
    assert daemon.settled(daemon.enqueue("fine")) == "", "the other process goes on meanwhile"
    assert daemon.settled(task_id) == "archived"
    assert len(daemon.events("start", task_id)) == 2
    assert "in blocks" in proc.err.text(), "the stack shows where it hung"
    still_works(daemon, proc)


def test_a_loop_in_c_is_ended_at_its_time_limit_and_only_its_task_is_charged(
    daemon: Daemon,
) -> None:
    """It keeps the interpreter's lock: within its process, nothing can be done about it."""
    daemon.worker(processes=1, hard_grace="100ms")
    proc = daemon.start()
    neighbour = daemon.enqueue("hold")
    daemon.wait_for("start", neighbour)
    task_id = daemon.enqueue("loops", timeout=1)
    assert daemon.settled(task_id) == "retry"
    assert daemon.error(task_id) == "context deadline exceeded"
    assert daemon.retried(task_id) == 1
    daemon.wait_for("start", neighbour, count=2)
    assert daemon.raw.hget(keys.task(QUEUE, neighbour), "qd_deaths") is None
    daemon.let_go()
    assert daemon.settled(neighbour) == "", "it was handed back, and is nobody's suspect"
    assert "out of time" in proc.err.text()


def test_a_thread_that_spins_is_interrupted_at_its_time_limit(daemon: Daemon) -> None:
    proc = daemon.start()
    before = workers_of(proc)
    task_id = daemon.enqueue("spins", timeout=1)
    assert daemon.settled(task_id) == "retry"
    assert daemon.error(task_id) == "context deadline exceeded"
    still_works(daemon, proc)
    assert workers_of(proc) == before


@pytest.mark.parametrize("task_type", ["stuck", "deaf", "elsewhere"])
def test_a_handler_that_cannot_be_stopped_has_its_process_replaced(
    daemon: Daemon, task_type: str
) -> None:
    daemon.worker(hard_grace="200ms", processes=1)
    proc = daemon.start()
    before = workers_of(proc)
    task_id = daemon.enqueue(task_type, timeout=1)
    pid = daemon.wait_for("start", task_id).pid
    assert daemon.settled(task_id) == "retry"
    assert daemon.error(task_id) == "context deadline exceeded"
    if task_type == "elsewhere":  # the handler itself has listened; its thread is left alone
        assert workers_of(proc) == before
        return
    # Its replacement is ready before it goes: there is always somebody who takes tasks.
    proc.err.wait("asks to be replaced")
    proc.err.wait(r"worker 0 \(pid \d+\) is ready")
    proc.err.wait(rf"worker 0 \(pid {pid}\) ended")
    assert daemon.settled(daemon.enqueue("fine")) == ""
    assert not proc.err.all("killed by")
    assert daemon.raw.hget(keys.task(QUEUE, task_id), "qd_deaths") is None


def test_a_killed_worker_s_task_runs_again_within_a_second_and_is_not_charged(
    daemon: Daemon,
) -> None:
    proc = daemon.start()
    task_id = daemon.enqueue("hold")
    first = daemon.wait_for("start", task_id)
    os.kill(first.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    second = daemon.wait_for("start", task_id, count=2)
    # A lease would have kept it for 15 s.
    assert time.monotonic() - killed_at < 10
    assert second.pid != first.pid
    assert second.attempt == 1
    daemon.let_go()
    assert daemon.settled(task_id) == ""
    assert [one.pid for one in daemon.events("end", task_id)] == [second.pid]
    still_works(daemon, proc)


def test_a_killed_worker_s_task_runs_again_without_a_scheduler_too(daemon: Daemon) -> None:
    daemon.start("--no-scheduler")
    task_id = daemon.enqueue("hold")
    first = daemon.wait_for("start", task_id)
    os.kill(first.pid, signal.SIGKILL)
    daemon.let_go()
    assert daemon.wait_for("end", task_id).pid != first.pid


def test_a_killed_scheduler_is_replaced_and_takes_no_task_with_it(daemon: Daemon) -> None:
    proc = daemon.start()
    (ready,) = proc.err.all(READY_SCHEDULER)
    pid = int(ready.partition("pid ")[2].partition(")")[0])
    task_id = daemon.enqueue("hold")
    daemon.wait_for("start", task_id)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(proc.err.all(READY_SCHEDULER)) == 2, 10)
    daemon.let_go()
    assert daemon.settled(task_id) == ""
    assert len(daemon.events("start", task_id)) == 1


def test_a_killed_supervisor_s_children_put_back_and_end(daemon: Daemon) -> None:
    proc = daemon.start()
    ids = [daemon.enqueue("hold") for _ in range(4)]
    for task_id in ids:
        daemon.wait_for("start", task_id)
    below = workers_of(proc)
    proc.signal(signal.SIGKILL)
    for pid in below:
        wait_until_gone(pid, 10)
    assert [daemon.state(task_id) for task_id in ids] == ["pending"] * 4
    assert daemon.nothing_held()
    daemon.let_go()
    again = daemon.command("worker", "--app", JOBS, "--burst")
    assert again.wait(20) == 0
    assert [daemon.state(task_id) for task_id in ids] == [""] * 4
    assert [daemon.raw.hget(keys.task(QUEUE, one), "qd_deaths") for one in ids] == [None] * 4


@pytest.mark.parametrize("flag", ["", "--no-scheduler"])
def test_what_died_all_at_once_is_handed_back_by_the_next_start(daemon: Daemon, flag: str) -> None:
    flags = (flag,) if flag else ()
    proc = daemon.start(*flags)
    ids = [daemon.enqueue("hold") for _ in range(4)]
    for task_id in ids:
        daemon.wait_for("start", task_id)
    below = workers_of(proc)
    # Stopped first, so that none of them sees the end of another.
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in (proc.pid, *below):
            os.kill(pid, number)
    proc.wait()
    for pid in below:
        wait_until_gone(pid, 30)
    # However long its application takes to be imported.
    again = daemon.command("worker", "--app", "tests.process.apps.imports_late", *flags)
    eventually(lambda: {daemon.state(one) for one in ids} == {"pending"}, 30)
    # Not because the leases have ended, which would be told in other words.
    again.err.wait(r"died with its supervisor\): [1-4] tasks put back")
    daemon.let_go()
    for task_id in ids:
        assert daemon.settled(task_id, 30) == ""
        assert len(daemon.events("end", task_id)) == 1
        assert {one.attempt for one in daemon.events("start", task_id)} == {1}


def test_a_worker_frozen_longer_than_the_watchdog_is_replaced(daemon: Daemon) -> None:
    # Long enough that a busy machine does not hold up the second worker for as long too.
    daemon.worker(watchdog="3s")
    daemon.start()
    task_id = daemon.enqueue("hold")
    first = daemon.wait_for("start", task_id)
    os.kill(first.pid, signal.SIGSTOP)
    second = daemon.wait_for("start", task_id, count=2)
    assert second.pid != first.pid
    daemon.let_go()
    assert daemon.settled(task_id) == ""
    assert len(daemon.events("end", task_id)) == 1


def test_redis_silent_under_load_costs_nothing_but_time(daemon: Daemon) -> None:
    """Long enough for every call to fail: everything runs once, the workers stay the same."""
    daemon.configure(redis={"addrs": [daemon.server.url], "call_timeout": "200ms"})
    proc = daemon.start()
    before = workers_of(proc)
    ids = [daemon.enqueue("slow", {"seconds": 0.05}) for _ in range(200)]
    daemon.wait_for("end", count=20)
    daemon.server.pause()
    for said in ("outcomes wait to be written", "waiting for Redis"):  # in any order
        eventually(lambda said=said: proc.err.all(said))
    daemon.server.resume()
    for task_id in ids:
        assert daemon.settled(task_id, 30) == ""
    assert sorted(one.id for one in daemon.events("end")) == sorted(ids)
    assert workers_of(proc) == before
