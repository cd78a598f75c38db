"""Random kill -9 of workers, supervisors and schedulers while tasks stream in."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from itertools import accumulate

from tests.chaos.fleet import Fleet, Host
from tests.chaos.judge import Fault
from tests.chaos.stage import Measure, Stage
from tests.support.wait import eventually

_MEAN_PAUSE = {"short": 0.5, "full": 0.8}
"""Seconds from one kill to the next, on average; the pauses are exponentially distributed."""

_SETTLED_WITHIN = 60.0


def run(stage: Stage) -> list[Measure]:
    profile = stage.profile
    fleet = stage.fleet()
    for name in ("a", "b"):
        fleet.add(name)
    faults: list[Fault] = []
    often = 1 / _MEAN_PAUSE[profile.name]
    pauses = [stage.random.expovariate(often) for _ in range(profile.kills)]
    began = time.monotonic()
    stage.producer.start("work", rate=profile.tasks / sum(pauses), count=profile.tasks)
    for number, moment in enumerate(accumulate(pauses)):
        time.sleep(max(0.0, began + moment - time.monotonic()))
        faults.append(kill(stage, fleet))
        if number % 50 == 49:
            stage.say(f"{number + 1} kills, {fleet.journal.count('end')} tasks ended")
    last_kill = faults[-1].at
    stage.producer.wait()
    with suppress(AssertionError):
        eventually(lambda: stage.unsettled() == 0, _SETTLED_WITHIN)
    settled = time.monotonic() - last_kill
    fleet.stop()
    verdict = stage.verdict(fleet, faults)
    for task_id in verdict.unexplained[:5]:
        stage.say(f"started again without a fault: {task_id}")
    title = f"{profile.kills} kill -9 over {profile.tasks:,} tasks"
    return [
        Measure(f"{title}: lost", "0", str(len(verdict.lost)), not verdict.lost),
        Measure(
            f"{title}: never ended, archived",
            "0, 0",
            f"{len(verdict.unfinished)}, {len(verdict.archived)}",
            not verdict.unfinished and not verdict.archived,
        ),
        Measure(
            f"{title}: extra starts",
            f"<= {verdict.in_flight} in flight",
            f"{verdict.extra}, {len(verdict.unexplained)} unexplained; the last of those that had "
            f"ended did so {1000 * max(0.0, verdict.latest):.0f} ms before the kill",
            verdict.extra <= verdict.in_flight and not verdict.unexplained,
        ),
        Measure(f"{title}: retries charged", "0", str(verdict.charged), verdict.charged == 0),
        Measure(f"{title}: all done", "5 s after the last kill", f"{settled:.1f} s", settled <= 5),
    ]


def kill(stage: Stage, fleet: Fleet) -> Fault:
    """Kill one process: 70 % workers, 20 % supervisors, 10 % schedulers."""
    while True:
        role = stage.random.choices(("worker", "supervisor", "scheduler"), (70, 20, 10))[0]
        host = stage.random.choice(fleet.hosts)
        pid = _victim(stage, host, role)
        if pid is None:
            time.sleep(0.01)
            continue
        # What a supervisor's children run is put back, and so runs again, when it dies.
        caught = host.everything() if role == "supervisor" else [pid]
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        return Fault(time.monotonic(), f"kill -9 of a {role}", frozenset(caught))


def _victim(stage: Stage, host: Host, role: str) -> int | None:
    if not host.alive:
        return None
    if role == "supervisor":
        return host.pid
    found = host.children(role)
    return stage.random.choice(found) if found else None
