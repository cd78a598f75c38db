"""
`make soak`: a fleet at work for an hour, while one fault follows the other.

    python -m tests.chaos.soak [--minutes N] [--seed N]

Prints a line every minute and a verdict at the end. Exits with 1 if a task was lost, doubled or blamed,
or if anything grew that should not. `paused` is the longest that the machine itself stood still, or was too
busy for a process that only looks at the clock: what is later than that is the program's. Starts that no
fault explains are told one by one, with what was done to the fleet before them.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.chaos import dump
from tests.chaos.fleet import Fleet, Host
from tests.chaos.journal import Run
from tests.chaos.judge import Fault, Verdict, judge
from tests.chaos.pauses import Pauses
from tests.chaos.scene_standstill import stand_still
from tests.chaos.stage import SHORT, Stage, percentile
from tests.support.procs import open_files_of, state_of
from tests.support.wait import eventually

_RATE = 50.0
_BETWEEN_FAULTS = 6.0
_FROZEN = 3.0
_STANDSTILL = 18.0
"""Seconds; longer than a lease."""
_MOST_TOLD = 5
"""Starts without a cause that a line of the table tells of."""

_MOST_GROWTH = 1.3
"""Memory of the largest process at the end, as a multiple of what it was after the first minute."""


class Health(NamedTuple):
    """Of all processes of the fleet: the largest (MiB), descriptors of the supervisors, zombies."""

    memory: float
    files: int
    zombies: int


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with (
        tempfile.TemporaryDirectory() as made,
        Stage(SHORT, arguments.seed, Path(made) / "soak") as stage,
    ):
        return soak(stage, arguments.minutes)


def soak(stage: Stage, minutes: float) -> int:
    """Returns the exit code."""
    fleet = stage.fleet()
    for name in ("a", "b"):
        fleet.add(name)
    pauses = Pauses()
    print(
        "minute  faults    ended  latency p50/p99/max ms  lost doubled charged  MiB  fds zombies"
        "  paused ms"
    )
    faults: list[Fault] = []
    healths: list[Health] = []
    seen = 0
    stage.producer.start("work", rate=_RATE, count=int(minutes * 60 * _RATE))
    began = time.monotonic()
    for minute in range(1, int(minutes) + 1):
        while time.monotonic() < began + 60 * minute:
            faults += _FAULTS[len(faults) % len(_FAULTS)](stage, fleet)
            time.sleep(_BETWEEN_FAULTS)
        healths.append(_health(fleet))
        seen = _report(stage, fleet, faults, healths[-1], seen, str(minute), pauses)
    stage.producer.wait()
    with suppress(AssertionError):
        eventually(lambda: stage.unsettled() == 0, within=30)
    _report(stage, fleet, faults, _health(fleet), seen, "end", pauses)
    pauses.stop()
    fleet.stop()
    return _conclude(stage.verdict(fleet, faults), healths, stage.broken())


def _kill(role: str) -> Callable[[Stage, Fleet], list[Fault]]:
    def fault(stage: Stage, fleet: Fleet) -> list[Fault]:
        host = stage.random.choice(fleet.hosts)
        host.wait_ready(2)
        pid = host.pid if role == "supervisor" else stage.random.choice(host.children(role))
        caught = host.everything() if role == "supervisor" else [pid]
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return [Fault(time.monotonic(), f"kill -9 of a {role}", frozenset(caught))]

    return fault


def _kill_all(stage: Stage, fleet: Fleet) -> list[Fault]:
    host = stage.random.choice(fleet.hosts)
    host.wait_ready(2)
    pids = host.kill_all()
    return [Fault(time.monotonic(), "kill -9 of all", frozenset(pids))]


def _freeze_worker(stage: Stage, fleet: Fleet) -> list[Fault]:
    pid = stage.random.choice(stage.random.choice(fleet.hosts).wait_ready(2))
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(_FROZEN)
        os.kill(pid, signal.SIGCONT)
    # Nothing of it may be given away: it explains no second start.
    return [Fault(time.monotonic(), "worker frozen", frozenset())]


def _freeze_redis(stage: Stage, fleet: Fleet) -> list[Fault]:
    stage.server.pause()
    time.sleep(_FROZEN)
    stage.server.resume()
    return [Fault(time.monotonic(), "Redis frozen", frozenset())]


def _stand_still(stage: Stage, fleet: Fleet) -> list[Fault]:
    for host in fleet.hosts:
        host.wait_ready(2)
    stand_still(stage, fleet, _STANDSTILL)
    return [Fault(time.monotonic(), "standstill", frozenset())]


def _roll(stage: Stage, fleet: Fleet) -> list[Fault]:
    host: Host = stage.random.choice(fleet.hosts)
    host.wait_ready(2)
    host.send(signal.SIGHUP)
    return [Fault(time.monotonic(), "HUP", frozenset())]


_FAULTS = (
    _kill("worker"),
    _roll,
    _kill("supervisor"),
    _freeze_redis,
    _kill("scheduler"),
    _freeze_worker,
    _kill_all,
    _stand_still,
)


def _health(fleet: Fleet) -> Health:
    memory, files, zombies = 0.0, 0, 0
    for host in fleet.hosts:
        host.wait_ready(2)
        files += open_files_of(host.pid)
        for pid in host.everything():
            zombies += state_of(pid) == "Z"
            with suppress(OSError):
                found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
                memory = max(memory, int(found[1]) / 1024 if found else 0.0)
    return Health(memory, files, zombies)


def _report(
    stage: Stage,
    fleet: Fleet,
    faults: list[Fault],
    health: Health,
    seen: int,
    title: str,
    pauses: Pauses,
) -> int:
    """Print a line; returns how many ends of tasks have been told of so far."""
    # In this order: what ends meanwhile is in one of the two.
    acked = dict(stage.producer.acked)
    stored = dump.read(stage.client)
    runs = fleet.journal.runs()
    verdict = judge(acked, runs, faults, stored)
    ends = [event for event in fleet.journal.events() if event.what == "end"]
    seconds = [one.at - acked[one.id] for one in ends[seen:] if one.id in acked]
    p50, p99 = (1000 * percentile(seconds, share) for share in (0.5, 0.99))
    latency = f"{p50:.0f} / {p99:.0f} / {1000 * max(seconds, default=0.0):.0f}"
    print(
        f"{title:>6} {len(faults):7} {len(ends):8}  {latency:>22} {len(verdict.lost):5}"
        f" {len(verdict.unexplained):7} {verdict.charged:7} {health.memory:4.0f} {health.files:4}"
        f" {health.zombies:7} {1000 * pauses.longest():10.0f}",
        flush=True,
    )
    since = ends[seen].at if seen < len(ends) else time.monotonic()
    _explain(set(verdict.unexplained), [run for run in runs if run.start >= since], runs, faults)
    return len(ends)


def _explain(ids: set[str], lately: list[Run], runs: list[Run], faults: list[Fault]) -> None:
    """Tell of starts that no fault explains: what ran before, and what had been done until then."""
    for again in [run for run in lately if run.id in ids][:_MOST_TOLD]:
        before = max(
            (run for run in runs if run.id == again.id and run.start < again.start),
            key=lambda run: run.start,
            default=None,
        )
        if before is None:
            continue
        ended = "never ended" if before.end is None else f"ended {again.start - before.end:.1f} s"
        latest = [one for one in faults if one.at <= again.start][-2:]
        done = ", ".join(f"{one.what} {again.start - one.at:.1f} s before" for one in latest)
        print(
            f"        task {again.id[:8]} again in process {again.pid}; in {before.pid} it began "
            f"{again.start - before.start:.1f} s, {ended} before; {done or 'no fault'}",
            flush=True,
        )


def _conclude(verdict: Verdict, healths: list[Health], broken: list[str]) -> int:
    first, last = healths[0], healths[-1]
    wrong = {
        "tasks lost": len(verdict.lost),
        "tasks that never ended": len(verdict.unfinished),
        "tasks archived": len(verdict.archived),
        "tasks started again without a fault": len(verdict.unexplained),
        "retries charged": verdict.charged,
        "zombies": last.zombies,
        "more descriptors": max(0, last.files - first.files),
        "memory grown": int(last.memory > _MOST_GROWTH * first.memory),
        "invariants broken": len(broken),
    }
    for breach in broken[:10]:
        print(breach)
    bad = {what: count for what, count in wrong.items() if count}
    print(
        f"{verdict.acked:,} tasks, {verdict.extra} started again, {verdict.in_flight} were in flight "
        f"at a kill; largest process {first.memory:.0f} MiB after a minute, {last.memory:.0f} at the end"
    )
    print("verdict:", ", ".join(f"{n} {what}" for what, n in bad.items()) if bad else "all is well")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
