"""
How long the tasks of the dead lie about: from the kill until they are in `pending` again.

The queue is paused when the blow falls, so that nobody takes the tasks before they are counted.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from tests.chaos.fleet import Fleet, Host
from tests.chaos.stage import Measure, Stage, milliseconds, percentile
from tests.support.wait import eventually

_PAUSED = "asynq:{default}:paused"
_PENDING = "asynq:{default}:pending"
_TASKS = 16

Blow = Callable[[Host], list[int]]
"""Kills something of a host, and names the processes whose tasks should come back."""


def run(stage: Stage) -> list[Measure]:
    fleet = stage.fleet()
    rounds = stage.profile.rounds
    host = fleet.add("a")
    measures = [
        _measure(
            stage, "worker death", 0.1, [_round(stage, fleet, host, _worker) for _ in range(rounds)]
        ),
        _measure(
            stage,
            "supervisor death with restart",
            2.0,
            [_round(stage, fleet, host, _supervisor) for _ in range(rounds)],
        ),
        _measure(
            stage,
            "supervisor and workers killed at once, with restart",
            2.0,
            [_round(stage, fleet, host, _all_with_restart) for _ in range(rounds)],
        ),
    ]
    losses = []
    # Under another name each, so that nobody can look whether the processes of another are dead.
    elsewhere = fleet.add("b", prefix=_named("b"))
    host.stop()
    for number in range(max(1, rounds // 3)):
        lost, elsewhere = elsewhere, fleet.add(f"b{number}", prefix=_named(f"b{number}"))
        losses.append(_round(stage, fleet, lost, Host.lose))
    measures.append(_measure(stage, "host loss", 20.0, losses))
    fleet.stop()
    return measures


def _measure(stage: Stage, what: str, within: float, seconds: list[float]) -> Measure:
    stage.say(f"{what}: {milliseconds(seconds)}")
    title = f"orphans back in pending, {what}: p50 / p99 / max of {len(seconds)}"
    ok = percentile(seconds, 0.99) <= within
    return Measure(title, f"p99 {1000 * within:,.0f} ms", milliseconds(seconds), ok)


def _round(stage: Stage, fleet: Fleet, host: Host, blow: Blow) -> float:
    """Have tasks running, strike, and wait for those of the struck; then let all of them end."""
    for one in fleet.hosts:
        if one.alive:
            one.wait_ready(2)
    before = fleet.journal.count("start")
    stage.producer.send("gate", _TASKS)
    eventually(lambda: fleet.journal.count("start") >= before + _TASKS, within=30)
    stage.client.set(_PAUSED, "1")
    struck_at = time.monotonic()
    struck = set(blow(host))
    due = sum(run.pid in struck and run.end is None for run in fleet.journal.runs())
    eventually(lambda: int(stage.client.llen(_PENDING)) >= due, within=60)  # type: ignore[arg-type]
    took = time.monotonic() - struck_at
    stage.client.delete(_PAUSED)
    fleet.gate.touch()
    eventually(lambda: stage.unsettled() == 0, within=60)
    fleet.gate.unlink()
    return took


def _named(name: str) -> tuple[str, ...]:
    """What runs a program on a host of this name."""
    own = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    return ("unshare", *own, "--uts", "--fork", "sh", "-c", f'hostname {name}; exec "$@"', "sh")


def _worker(host: Host) -> list[int]:
    pid = host.children("worker", ready=True)[0]
    os.kill(pid, signal.SIGKILL)
    return [pid]


def _supervisor(host: Host) -> list[int]:
    pids = host.children("worker")
    os.kill(host.pid, signal.SIGKILL)
    return pids


def _all_with_restart(host: Host) -> list[int]:
    """Everything at once, as a container that is killed, and started again as systemd would."""
    pids = host.children("worker")
    host.kill_all()
    return pids
