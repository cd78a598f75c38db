"""
All leases run out at the same time, and nobody has died: Redis is away for longer than they last, or the
whole machine stands still, as one does that is suspended or moved. Nothing may be given away for that.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from qd.protocol.constants import LEASE
from tests.chaos.fleet import Fleet
from tests.chaos.stage import Measure, Stage
from tests.support.wait import eventually

_TASKS = 200
_SECONDS = LEASE + 5.0
_AFTERWARDS = 10.0
"""Seconds in which somebody could still take leases for lost."""


def away(stage: Stage) -> list[Measure]:
    def strike(_: Fleet) -> None:
        stage.server.pause()
        time.sleep(_SECONDS)
        stage.server.resume()

    return _run(stage, f"Redis away for {_SECONDS:g} s", strike)


def standstill(stage: Stage) -> list[Measure]:
    def strike(fleet: Fleet) -> None:
        stand_still(stage, fleet, _SECONDS)

    return _run(stage, f"machine at a standstill for {_SECONDS:g} s", strike)


def stand_still(stage: Stage, fleet: Fleet, seconds: float) -> None:
    """Stop Redis and every process of all hosts, and let them go on."""
    pids = [pid for host in fleet.hosts for pid in host.everything()]
    stage.server.pause()
    _send(pids, signal.SIGSTOP)
    time.sleep(seconds)
    stage.server.resume()
    _send(pids, signal.SIGCONT)


def _send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _run(stage: Stage, title: str, strike: Callable[[Fleet], None]) -> list[Measure]:
    fleet = stage.fleet()
    for name in ("a", "b"):
        fleet.add(name, concurrency=_TASKS // 4)
    stage.producer.send("gate", _TASKS)
    eventually(lambda: fleet.journal.count("start") == _TASKS, within=30)
    strike(fleet)
    time.sleep(_AFTERWARDS)
    fleet.gate.touch()
    eventually(lambda: stage.unsettled() == 0, within=60)
    fleet.stop()
    verdict = stage.verdict(fleet, [])
    return [
        Measure(
            f"{title} over {_TASKS} running handlers: run again, lost, charged",
            "0, 0, 0",
            f"{verdict.extra}, {len(verdict.lost)}, {verdict.charged}",
            not verdict.extra and not verdict.lost and not verdict.charged,
        )
    ]
