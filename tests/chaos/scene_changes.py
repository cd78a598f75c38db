"""Entries added, changed and removed, daemons reloaded, under load: no tick is lost or doubled."""

from __future__ import annotations

import signal
import time
from typing import NamedTuple

from qd import App
from tests.chaos.fleet import Host
from tests.chaos.scene_cron import SCHEDULE
from tests.chaos.stage import Measure, Stage
from tests.chaos.ticks import fired
from tests.support.wait import eventually

_ROUNDS = {"short": 10, "full": 200}
_RATE = 300
"""Other tasks a second."""

_SPECS = ("@every 1s", "* * * * * *", "*/1 * * * * *")
"""All the same seconds, in other words."""


class _Life(NamedTuple):
    added: float
    removed: float


def run(stage: Stage) -> list[Measure]:
    rounds = _ROUNDS[stage.profile.name]
    fleet = stage.fleet(schedule=SCHEDULE)
    hosts = [fleet.add(name, processes=1) for name in ("a", "b")]
    app = App("changes", config={"redis": {"addrs": [stage.server.url]}})
    stage.producer.start("work", rate=_RATE, count=10**9, payload={"seconds": 0})
    began = time.time() + 2
    time.sleep(2)
    lives = {}
    for number in range(rounds):
        lives[f"passing-{number:03}"] = _round(stage, app, hosts[number % 2], number)
        if number % 20 == 19:
            stage.say(f"{number + 1} rounds")
    ended = time.time()
    app.close()
    stage.producer.halt()
    eventually(lambda: stage.unsettled() == 0 and time.time() > ended + 4, within=60)
    found = fired(stage.client, [*SCHEDULE, *lives], fleet.journal.events())
    fleet.stop()

    missed = {name: found[name].missed(began, ended) for name in SCHEDULE}
    for name, life in lives.items():
        # Whether the tick of the very second in which it went counts is nobody's promise.
        missed[name] = found[name].missed(life.added, life.removed - 1)
    # Schedulers hear of a removal a moment later.
    strange = {
        name: [tick for tick in found[name].starts if not life.added - 1 < tick <= life.removed + 1]
        for name, life in lives.items()
    }
    doubled = {name: one.doubled() for name, one in found.items()}
    for what, some in (("missed", missed), ("doubled", doubled), ("not asked for", strange)):
        for name, ticks in some.items():
            if ticks:
                stage.say(f"{what}: {name} {ticks[:5]} {lives.get(name)}")
    counts = [sum(map(len, some.values())) for some in (missed, doubled, strange)]
    ticks = sum(len(one.starts) for one in found.values())
    title = f"entry added, changed, removed, daemon reloaded, {rounds} times"
    return [
        Measure(
            f"{title}: ticks missed, doubled, not asked for",
            "0, 0, 0",
            f"{', '.join(map(str, counts))} of {ticks:,}",
            not any(counts),
        )
    ]


def _round(stage: Stage, app: App, host: Host, number: int) -> _Life:
    name = f"passing-{number:03}"
    first, second = stage.random.sample(_SPECS, 2)
    app.schedules.add(name, first, "work", {"seconds": 0})
    added = time.time()
    time.sleep(stage.random.uniform(0, 0.6))
    before = set(host.children("scheduler"))
    host.send(signal.SIGHUP)
    time.sleep(stage.random.uniform(0, 0.4))
    app.schedules.add(name, second, "work", {"seconds": 0.001})
    eventually(lambda: set(host.children("scheduler", ready=True)) - before, within=30)
    time.sleep(stage.random.uniform(0, 0.6))
    removed = time.time()
    app.schedules.remove(name)
    return _Life(added, removed)
