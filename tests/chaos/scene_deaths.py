"""A thousand workers die under one supervisor: nothing of them may stay with it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from tests.chaos.fleet import Host
from tests.chaos.judge import Fault
from tests.chaos.stage import Measure, Stage
from tests.support.procs import children_of, open_files_of, state_of, wait_until_gone
from tests.support.wait import eventually

_PROCESSES = 4
_MIB = 2**20
_MOST_GROWTH = 5 * _MIB
_AGE = 0.25
"""Seconds a victim has been ready for, at least."""

_WARM_UP = 10
"""Deaths before the first look: the parent imports and allocates a little when it buries its first."""


def run(stage: Stage) -> list[Measure]:
    count = stage.profile.deaths
    fleet = stage.fleet()
    host = fleet.add("a", restart=False, processes=_PROCESSES)
    stage.producer.start("work", rate=100, count=10_000_000)
    faults = [_kill_one(stage, host) for _ in range(_WARM_UP)]
    host.wait_ready(_PROCESSES)
    files, memory = open_files_of(host.pid), _resident(host.pid)
    began = time.monotonic()
    for number in range(count):
        faults.append(_kill_one(stage, host))
        if number % 100 == 99:
            stage.say(f"{number + 1} deaths, {(_resident(host.pid) - memory) / _MIB:+.1f} MiB")
    took = time.monotonic() - began
    stage.producer.halt()
    host.wait_ready(_PROCESSES, within=90)
    eventually(lambda: stage.unsettled() == 0, within=60)
    more_files = open_files_of(host.pid) - files
    growth = _resident(host.pid) - memory
    zombies = sum(state_of(pid) == "Z" for pid in children_of(host.pid))
    fleet.stop()
    verdict = stage.verdict(fleet, faults)
    return [
        Measure(
            f"{count:,} worker deaths in {took:.0f} s: descriptors, zombies, memory",
            f"+0, 0, +{_MOST_GROWTH // _MIB} MiB",
            f"{more_files:+d}, {zombies}, {growth / _MIB:+.1f} MiB",
            more_files <= 0 and zombies == 0 and growth <= _MOST_GROWTH,
        ),
        Measure(
            f"{count:,} worker deaths: lost, archived, charged",
            "0, 0, 0",
            f"{len(verdict.lost)}, {len(verdict.archived)}, {verdict.charged}",
            not verdict.lost and not verdict.archived and not verdict.charged,
        ),
    ]


def _kill_one(stage: Stage, host: Host) -> Fault:
    """Kill a worker that has had the time to do something: others are restarted with a delay."""
    while True:
        old = set(host.wait_ready(1, within=60))
        time.sleep(_AGE)
        seasoned = sorted(old & set(host.children("worker", ready=True)))
        victim = stage.random.choice(seasoned)
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
            wait_until_gone(victim)
            return Fault(time.monotonic(), "kill -9 of a worker", frozenset([victim]))


def _resident(pid: int) -> int:
    """Bytes of memory that are the process's own: pages shared with its children stay out."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    names = ("Private_Clean:", "Private_Dirty:", "Shared_Dirty:")
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(names))
