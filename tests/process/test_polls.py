"""Polls in processes that die: they go on, one looks at a time, and nobody waits for a dead one's lock."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection

import pytest

from qd.protocol import keys
from tests.process.daemon import QUEUE, Daemon
from tests.support.procs import Proc
from tests.support.wait import eventually

pytestmark = pytest.mark.process

APP = "tests.process.apps.videos"


def start(daemon: Daemon, fail_point: str = "") -> Proc:
    env = {"QD_FAILPOINT": fail_point} if fail_point else {}
    proc = daemon.command("worker", "--app", APP, env=env)
    proc.err.wait(r"all \d+ children are ready", 30)
    return proc


def enqueue(daemon: Daemon, kind: str, video: str, **options: object) -> str:
    kept = {} if kind == "video" else {"retention": "1h"}
    return daemon.enqueue(f"{kind}:{video}", {"video": video}, **kept, **options)


def overlaps(daemon: Daemon, killed: Collection[int] = ()) -> list[str]:
    """Looks at a video that began while another one, in a process that was not killed, went on."""
    found = []
    looking: dict[str, tuple[str, int]] = {}
    for event in daemon.events():
        if event.what == "look":
            other = looking.get(event.type)
            if other is not None and other[1] not in killed:
                found.append(f"{event} beside {other}")
            looking[event.type] = (event.id, event.pid)
        elif event.what == "looked" and looking.get(event.type) == (event.id, event.pid):
            del looking[event.type]
    return found


def result_of(daemon: Daemon, task_id: str) -> bytes | None:
    return daemon.raw.hget(keys.task(QUEUE, task_id), "result")  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["held", "held-sync"])
def test_a_look_whose_process_is_killed_is_looked_again_and_keeps_nobody_waiting(
    daemon: Daemon, kind: str
) -> None:
    """Its lock would have been there for 480 s."""
    start(daemon)
    first = enqueue(daemon, kind, "a")
    looking = daemon.wait_for("look", first, within=20)
    second = enqueue(daemon, kind, "a")
    assert daemon.settled(second) in ("scheduled", "retry")
    os.kill(looking.pid, signal.SIGKILL)
    # Whoever comes first looks next; the other one waits for it.
    daemon.wait_for("look", count=2, within=30)
    daemon.let_go()
    for task_id in (first, second):
        eventually(lambda one=task_id: daemon.state(one) == "completed", 40)  # type: ignore[misc]
        assert result_of(daemon, task_id) == b'"found"'
    assert overlaps(daemon, {looking.pid}) == []
    assert not daemon.raw.keys("qd:lock:*")
    assert daemon.retried(first) == daemon.retried(second) == 0


def test_of_many_polls_under_kills_each_goes_on_and_one_looks_at_a_time(daemon: Daemon) -> None:
    start(daemon)
    ids = [enqueue(daemon, "video", "abc"[number % 3]) for number in range(9)]
    killed: set[int] = set()
    for count in (3, 10, 18):
        # In the midst of its look, if it is still there.
        pid = daemon.wait_for("look", count=count, within=40).pid
        if pid not in killed:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
    eventually(lambda: {one.id for one in daemon.events("end")} == set(ids), 50)
    eventually(lambda: not daemon.raw.keys(keys.task(QUEUE, "*")), 20)
    assert overlaps(daemon, killed) == []
    assert not daemon.raw.keys("qd:lock:*")
    assert not daemon.raw.exists(keys.archived(QUEUE))
    # As many looks as it takes, and one more for each that a kill has cut off.
    for task_id in ids:
        looks = [one.pid for one in daemon.events("look", task_id)]
        assert 3 <= len(looks) <= 3 + sum(pid in killed for pid in looks)


@pytest.mark.parametrize(("fail_point", "looks"), [("ending.before", 2), ("ending.after", 1)])
def test_what_was_told_during_a_look_is_not_lost_with_its_process(
    daemon: Daemon, fail_point: str, looks: int
) -> None:
    proc = start(daemon, f"{fail_point}:kill")
    task_id = enqueue(daemon, "held", "a", max_retry=0)
    daemon.wait_for("look", task_id, within=20)
    assert daemon.app.client.poll_done(task_id, "told") is False
    daemon.let_go()
    proc.err.wait(f"fail point {fail_point}: kill", 30)
    eventually(lambda: daemon.state(task_id) == "completed", 40)
    assert result_of(daemon, task_id) == b'"told"'
    assert len(daemon.events("look", task_id)) == looks
    assert daemon.raw.get(keys.processed(QUEUE)) == b"1"


@pytest.mark.parametrize("fail_point", ["handler.before", "ending.before", "ending.after"])
def test_what_is_told_while_an_outcome_is_on_its_way_counts(
    daemon: Daemon, fail_point: str
) -> None:
    """Before it is written it is heeded, afterwards the poll waits: there is nothing in between."""
    daemon.let_go()
    proc = start(daemon, f"{fail_point}:delay")
    task_id = enqueue(daemon, "held", "a")
    proc.err.wait(f"fail point {fail_point}: delay", 30)
    daemon.app.client.poll_done(task_id, "told")
    assert daemon.app.client.poll_done(task_id, "too late") in (True, False)
    eventually(lambda: daemon.state(task_id) == "completed", 30)
    assert result_of(daemon, task_id) == b'"told"'
    assert daemon.raw.get(keys.processed(QUEUE)) == b"1"


def test_a_whole_daemon_is_killed_and_the_next_one_goes_on(daemon: Daemon) -> None:
    proc = start(daemon)
    task_id = enqueue(daemon, "held", "a")
    daemon.wait_for("look", task_id, within=20)
    other = enqueue(daemon, "held", "a")
    assert daemon.settled(other) in ("scheduled", "retry")
    pids = [proc.pid, *{one.pid for one in daemon.events("look")}]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            os.kill(pid, number)
    proc.wait()
    daemon.let_go()
    start(daemon)
    for one in (task_id, other):
        eventually(lambda one=one: daemon.state(one) == "completed", 50)  # type: ignore[misc]
    assert overlaps(daemon, pids) == []
