"""Side effects that must happen once, in processes that die: before, between, after."""

from __future__ import annotations

import os
import signal

import pytest

from tests.process.daemon import Daemon
from tests.support.procs import Proc
from tests.support.wait import eventually

pytestmark = pytest.mark.process

APP = "tests.process.apps.effects"


def start(daemon: Daemon, fail_point: str = "") -> Proc:
    env = {"QD_FAILPOINT": f"{fail_point}:kill"} if fail_point else {}
    proc = daemon.command("worker", "--app", APP, env=env)
    proc.err.wait(r"all \d+ children are ready", 20)
    return proc


@pytest.mark.parametrize("task_type", ["charge", "charge:sync"])
@pytest.mark.parametrize(
    ("fail_point", "effects"),
    [("once.claimed", 1), ("once.noted", 1), ("ending.before", 1), ("once.done", 2)],
)
def test_a_process_that_dies_repeats_an_effect_only_if_it_could_not_note_it(
    daemon: Daemon, task_type: str, fail_point: str, effects: int
) -> None:
    proc = start(daemon, fail_point)
    task_id = daemon.enqueue(task_type)
    daemon.wait_for("end", task_id, within=20)
    proc.err.wait(f"fail point {fail_point}: kill")
    assert daemon.settled(task_id) == ""
    assert len(daemon.events("effect", task_id)) == effects


def test_in_doubt_the_handler_is_asked_if_it_wants_to_be(daemon: Daemon) -> None:
    start(daemon, "once.done")
    task_id = daemon.enqueue("charge", {"doubt": "raise"}, max_retry=0)
    assert daemon.settled(task_id) == "archived"
    assert "an earlier run may have done this" in daemon.error(task_id)
    assert len(daemon.events("effect", task_id)) == 1


def test_of_many_tasks_in_many_processes_one_has_the_effect_whoever_is_killed(
    daemon: Daemon,
) -> None:
    start(daemon)
    ids = [daemon.enqueue("charge") for _ in range(200)]
    shared = [daemon.enqueue("shared") for _ in range(20)]
    killed: set[int] = set()
    for count in (20, 80, 140):
        daemon.wait_for("end", count=count, within=30)
        pid = daemon.events("end")[-1].pid
        # Others may have had nothing left to do since the last kill.
        if pid not in killed:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
    ended = eventually(lambda: _all_ended(daemon, [*ids, *shared]), 60)
    effects = [event for event in daemon.events("effect") if event.id in ended]
    # In doubt are those whose effect was the last that a killed process has noted of them.
    in_doubt = {one.id for one in effects if one.pid in killed}
    for task_id in ids:
        mine = [one for one in effects if one.id == task_id]
        assert len(mine) == 1 or (len(mine) <= 1 + len(killed) and task_id in in_doubt)
    together = [one for one in effects if one.type == "shared"]
    assert len(together) == 1 or {one.pid for one in together[:-1]} <= killed


def _all_ended(daemon: Daemon, ids: list[str]) -> set[str]:
    ended = {event.id for event in daemon.events("end")}
    return ended if ended.issuperset(ids) else set()
