"""What an operator sends to a running `qd worker`, and what it does then."""

from __future__ import annotations

import re
import signal

import pytest

from qd.protocol import keys
from tests.process.daemon import JOBS, QUEUE, Daemon, workers_of
from tests.support.wait import eventually

pytestmark = pytest.mark.process


def test_term_under_load_ends_clean_and_nothing_runs_twice(daemon: Daemon) -> None:
    proc = daemon.start()
    ids = [daemon.enqueue("slow" if n % 2 else "slow:sync") for n in range(400)]
    daemon.wait_for("end", count=50)
    proc.signal(signal.SIGTERM)
    assert proc.wait(10) == 0
    assert daemon.nothing_held()
    assert not daemon.raw.exists(keys.SERVERS)
    ended = [one.id for one in daemon.events("end")]
    assert len(ended) == len(set(ended)) < 400
    assert daemon.raw.llen(keys.pending(QUEUE)) == 400 - len(ended)
    rest = daemon.command("worker", "--app", JOBS, "--burst")
    assert rest.wait(20) == 0
    assert sorted(one.id for one in daemon.events("end")) == sorted(ids)
    assert not daemon.raw.exists(keys.retry(QUEUE), keys.archived(QUEUE))


def test_what_does_not_end_in_time_is_put_back_uncharged(daemon: Daemon) -> None:
    daemon.worker(shutdown_timeout="300ms")
    proc = daemon.start()
    ids = [daemon.enqueue(kind) for kind in ("hold", "stuck", "deaf", "elsewhere", "spins")]
    for task_id in ids:
        daemon.wait_for("start", task_id)
    proc.signal(signal.SIGTERM)
    assert proc.wait(10) == 0, "no handler, deaf or not, holds up the end"
    assert [daemon.state(task_id) for task_id in ids] == ["pending"] * 5
    assert [daemon.retried(task_id) for task_id in ids] == [0] * 5
    assert daemon.nothing_held()
    assert not proc.err.all("killed by")


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGQUIT])
def test_a_second_signal_puts_back_at_once(daemon: Daemon, second: signal.Signals) -> None:
    daemon.worker(shutdown_timeout="60s")
    proc = daemon.start()
    task_id = daemon.enqueue("hold")
    daemon.wait_for("start", task_id)
    proc.signal(signal.SIGTERM)
    eventually(lambda: {info.status for info in daemon.servers()} == {"stopped"})
    assert daemon.state(task_id) == "active"
    proc.signal(second)
    assert proc.wait(5) == 0
    assert (daemon.state(task_id), daemon.retried(task_id)) == ("pending", 0)


def test_hup_with_a_good_file_replaces_the_processes_one_by_one(daemon: Daemon) -> None:
    daemon.worker(concurrency=3)
    proc = daemon.start()
    before = workers_of(proc)
    held = daemon.enqueue("hold")
    daemon.wait_for("start", held)
    daemon.worker(concurrency=5)
    proc.signal(signal.SIGHUP)
    proc.err.wait("reloaded")
    daemon.let_go()
    proc.err.wait("all 3 children are ready", 20)
    assert not workers_of(proc) & before
    assert {info.concurrency for info in eventually(daemon.servers)} == {5}
    assert daemon.settled(held) == ""
    assert len(daemon.events("end", held)) == 1
    assert daemon.settled(daemon.enqueue("fine")) == ""


def test_hup_with_a_bad_file_changes_nothing_and_lists_its_problems(daemon: Daemon) -> None:
    proc = daemon.start()
    before = workers_of(proc)
    daemon.configure(worker={"concurrency": "many"}, typo=1)
    proc.signal(signal.SIGHUP)
    proc.err.wait("nothing was reloaded.*worker.concurrency.*typo")
    assert workers_of(proc) == before
    assert daemon.settled(daemon.enqueue("fine")) == ""


def test_hup_is_refused_with_a_reason_when_the_app_was_preloaded(daemon: Daemon) -> None:
    daemon.worker(preload=True)
    proc = daemon.start()
    before = workers_of(proc)
    proc.signal(signal.SIGHUP)
    proc.err.wait("nothing was reloaded.*worker.preload.*Restart the service")
    assert workers_of(proc) == before


def test_hup_with_an_app_that_no_longer_starts_keeps_the_old_one(daemon: Daemon) -> None:
    daemon.configure(app=JOBS)
    proc = daemon.command("worker")
    proc.err.wait("all 3 children are ready", 20)
    daemon.configure(app="tests.process.apps.raises")
    proc.signal(signal.SIGHUP)
    proc.err.wait("the reload is undone", 20)
    assert daemon.settled(daemon.enqueue("fine")) == ""


def test_ttin_and_ttou_add_and_take_away_a_worker(daemon: Daemon) -> None:
    proc = daemon.start()
    proc.signal(signal.SIGTTIN)
    proc.err.wait("3 workers wanted")
    proc.err.wait("all 4 children are ready", 10)
    task_id = daemon.enqueue("hold")
    daemon.wait_for("start", task_id)
    for left in (2, 1):
        proc.signal(signal.SIGTTOU)
        proc.err.wait(f"{left} workers wanted")
    daemon.let_go()
    eventually(lambda: len(workers_of(proc)) == 2)
    proc.signal(signal.SIGTTOU)
    proc.err.wait("that is the least")
    assert daemon.settled(task_id) == ""
    assert len(daemon.events("end", task_id)) == 1


def test_usr2_prints_the_stacks_of_all_and_disturbs_nobody(daemon: Daemon) -> None:
    proc = daemon.start()
    before = workers_of(proc)
    task_id = daemon.enqueue("stuck")
    daemon.wait_for("start", task_id)
    proc.signal(signal.SIGUSR2)
    pattern = r"-- (supervisor|worker \d|scheduler)[^-]* --\n(?s:.*?)most recent call first"
    # One after the other: each under its own title.
    eventually(lambda: len(set(re.findall(pattern, proc.err.text()))) == 4)
    assert "stuck" in proc.err.text()
    assert workers_of(proc) == before


def test_tstp_takes_no_new_tasks_and_cont_takes_them_again(daemon: Daemon) -> None:
    proc = daemon.start()
    held = daemon.enqueue("hold")
    daemon.wait_for("start", held)
    proc.signal(signal.SIGTSTP)
    eventually(lambda: {info.status for info in daemon.servers()} == {"stopped"})
    waiting = daemon.enqueue("fine")
    daemon.let_go()
    assert daemon.settled(held) == "", "running ones go on"
    assert daemon.state(waiting) == "pending"
    proc.signal(signal.SIGCONT)
    assert daemon.settled(waiting) == ""
    eventually(lambda: {info.status for info in daemon.servers()} == {"active"})


def test_a_worker_started_while_quiet_is_quiet_too(daemon: Daemon) -> None:
    proc = daemon.start()
    proc.signal(signal.SIGTSTP)
    proc.err.wait("quiet: no new tasks")
    proc.signal(signal.SIGTTIN)
    proc.err.wait("all 4 children are ready", 10)
    eventually(lambda: [info.status for info in daemon.servers()] == ["stopped"] * 3)
    task_id = daemon.enqueue("fine")
    proc.signal(signal.SIGTERM)
    assert proc.wait(10) == 0
    assert daemon.state(task_id) == "pending"
