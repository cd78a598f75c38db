"""Orders of an operator that reach worker processes through Redis, from any host."""

from __future__ import annotations

import json
import os
import signal

import pytest

from qd.protocol.message import ServerInfo
from tests.process.daemon import Daemon
from tests.support.wait import eventually

pytestmark = pytest.mark.process


def test_quiet_workers_take_nothing_until_they_are_resumed(daemon: Daemon) -> None:
    daemon.start()
    eventually(lambda: len(daemon.servers()) == 2)
    assert daemon.command("server", "quiet", "--all").wait(20) == 0
    assert {one.status for one in daemon.servers()} == {"stopped"}
    task_id = daemon.enqueue("fine")
    why = daemon.command("task", "why", task_id, "--json")
    assert why.wait(20) == 0
    codes = [one["code"] for one in json.loads(why.out.text())["why"]["reasons"]]
    assert codes == ["quiet"]
    assert daemon.state(task_id) == "pending"
    assert daemon.command("server", "resume", "--all").wait(20) == 0
    daemon.wait_for("ran", task_id)


def test_what_takes_the_place_of_a_quiet_worker_is_quiet_until_that_is_resumed(
    daemon: Daemon,
) -> None:
    daemon.worker(processes=1)
    daemon.start()
    eventually(lambda: len(daemon.servers()) == 1)
    first = daemon.servers()[0]
    assert daemon.command("server", "quiet", "--all").wait(20) == 0
    # The order is told to the parent before it is shown to anybody.
    os.kill(first.pid, signal.SIGKILL)

    def successor() -> list[ServerInfo]:
        return [one for one in daemon.servers() if one.pid != first.pid]

    eventually(lambda: [one.status for one in successor()] == ["stopped"], 15)
    assert daemon.command("server", "resume", f"{first.host}:{successor()[0].pid}").wait(20) == 0
    os.kill(successor()[0].pid, signal.SIGKILL)
    assert daemon.settled(daemon.enqueue("fine")) == ""


def test_stop_ends_the_whole_program_in_order(daemon: Daemon) -> None:
    proc = daemon.start()
    eventually(lambda: len(daemon.servers()) == 2)
    first = daemon.servers()[0]
    name = f"{first.host}:{first.pid}"
    assert daemon.command("server", "stop", name).wait(20) == 5, "nobody can be asked"
    assert daemon.command("server", "stop", name, "-y").wait(20) == 0
    assert proc.wait(20) == 0
    assert not daemon.servers()


@pytest.mark.parametrize(("kind", "place"), [("hold", "in aeventually"), ("slow:sync", "sleep")])
def test_the_stack_of_a_running_handler_is_shown(daemon: Daemon, kind: str, place: str) -> None:
    daemon.start()
    task_id = daemon.enqueue(kind, {"seconds": 60} if kind == "slow:sync" else None)
    daemon.wait_for("start", task_id)
    eventually(lambda: any(one.running for one in daemon.inspector.servers.list()), 15)
    why = daemon.command("task", "why", task_id, "--stack")
    assert why.wait(20) == 0
    facts, _, stack = why.out.text().partition("\n\n")
    assert "It runs on" in facts
    assert "jobs.py" in stack.splitlines()[0], "the handler comes first"
    assert place in stack
