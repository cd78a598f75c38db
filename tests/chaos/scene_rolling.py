"""Restarts under load: processes come and go, and nobody who waits for a task may notice."""

from __future__ import annotations

import signal
from itertools import pairwise

from tests.chaos.fleet import Fleet, Host
from tests.chaos.stage import Measure, Stage
from tests.support.wait import eventually

_RATE = 100.0
_GAP = 1.0


def run(stage: Stage) -> list[Measure]:
    fleet = stage.fleet()
    hosts = [fleet.add(name) for name in ("a", "b")]
    stage.producer.start("work", rate=_RATE, count=1_000_000)
    eventually(lambda: fleet.journal.count("end") > 50, within=30)
    for number in range(stage.profile.restarts):
        host = hosts[number % 2]
        if number % 4 < 2:
            _reload(host)
        else:
            hosts[number % 2] = _replace(fleet, host, f"{host.name[0]}{number}")
    stage.producer.halt()
    eventually(lambda: stage.unsettled() == 0, within=30)
    fleet.stop()
    verdict = stage.verdict(fleet, [])
    starts = sorted(event.at for event in fleet.journal.events() if event.what == "start")
    gap = max(later - earlier for earlier, later in pairwise(starts))
    title = f"{stage.profile.restarts} rolling restarts under {_RATE:g} tasks/s"
    return [
        Measure(
            f"{title}: doubled, lost, retries charged",
            "0, 0, 0",
            f"{verdict.extra}, {len(verdict.lost)}, {verdict.charged}",
            not verdict.extra and not verdict.lost and not verdict.charged,
        ),
        Measure(
            f"{title}: longest gap between two starts", f"{_GAP:g} s", f"{gap:.2f} s", gap <= _GAP
        ),
    ]


def _reload(host: Host) -> None:
    """HUP: the processes are replaced one by one."""
    old = set(host.wait_ready(2))
    host.send(signal.SIGHUP)
    eventually(lambda: not old & set(host.children("worker")), within=60)
    host.wait_ready(2)


def _replace(fleet: Fleet, host: Host, name: str) -> Host:
    """TERM, and a fresh start once it is gone."""
    assert host.stop() == 0
    return fleet.add(name)
