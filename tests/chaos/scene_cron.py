"""
Periodic tasks on three hosts whose schedulers are killed at the worst moments.

A leader there is not; what is killed is the scheduler that enqueued the last tick.
"""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress

from tests.chaos.fleet import Fleet, Host
from tests.chaos.stage import Measure, Stage, milliseconds, percentile
from tests.chaos.ticks import fired
from tests.support.wait import eventually

ENTRIES = 20
SCHEDULE = {
    f"every-second-{n:02}": {"spec": "@every 1s", "type": "work", "payload": {"seconds": 0}}
    for n in range(ENTRIES)
}
_QUIET = {"short": 2, "full": 30}
"""Seconds without a kill, first."""

_KILLS = {"short": 12, "full": 100}
_PAUSE = {"short": 1.0, "full": 3.0}
"""Seconds from one kill to the next."""

_TICK = re.compile(r"^(\S+) .*cron\[\d+\].* enqueued ", re.MULTILINE)
_TAIL = 20_000


def run(stage: Stage) -> list[Measure]:
    quiet, kills, pause = (one[stage.profile.name] for one in (_QUIET, _KILLS, _PAUSE))
    fleet = stage.fleet(schedule=SCHEDULE)
    for name in ("a", "b", "c"):
        fleet.add(name, processes=1)
    began = time.time() + 2
    time.sleep(2 + quiet)
    killing = time.time()
    for number in range(kills):
        # Half of them within 20 ms of a tick, the others anywhere.
        moment = killing + pause * (number + 1)
        if stage.random.random() < 0.5:
            moment = round(moment) + stage.random.uniform(-0.02, 0.02)
        time.sleep(max(0.0, moment - time.time()))
        _kill_the_last_to_enqueue(fleet)
        if number % 20 == 19:
            stage.say(f"{number + 1} kills")
    ended = time.time()
    eventually(lambda: stage.unsettled() == 0 and time.time() > ended + 4, within=30)
    found = fired(stage.client, SCHEDULE, fleet.journal.events())
    fleet.stop()

    missed = {name: one.missed(began, ended) for name, one in found.items()}
    doubled = {name: one.doubled() for name, one in found.items()}
    count = sum(began <= tick <= ended for one in found.values() for tick in one.starts)
    calm = [late for one in found.values() for late in one.late(began, killing)]
    stormy = [late for one in found.values() for late in one.late(killing, ended)]
    title = f"{ENTRIES} entries @every 1s, 3 schedulers, {kills} kills"
    lost, twice = (sum(map(len, one.values())) for one in (missed, doubled))
    for name, ticks in [*missed.items(), *doubled.items()]:
        if ticks:
            stage.say(f"{name}: {ticks[:5]}")
    return [
        Measure(
            f"{title}: ticks missed, doubled",
            "0, 0",
            f"{lost}, {twice} of {count:,}",
            not lost and not twice,
        ),
        Measure(
            "the same, before the kills: lateness of the handler, p50 / p99 / max",
            "p99 < 50 ms",
            milliseconds(calm),
            percentile(calm, 0.99) < 0.05,
        ),
        Measure(
            "the same, with kills",
            "p99 < 3 s",
            milliseconds(stormy),
            percentile(stormy, 0.99) < 3,
        ),
    ]


def _kill_the_last_to_enqueue(fleet: Fleet) -> None:
    last = max(fleet.hosts, key=_last_tick)
    for pid in last.children("scheduler"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _last_tick(host: Host) -> str:
    """When the scheduler of a host last enqueued something, as its log has it."""
    with host.log.open("rb") as log:
        log.seek(max(0, host.log.stat().st_size - _TAIL))
        return max(_TICK.findall(log.read().decode(errors="replace")), default="")
