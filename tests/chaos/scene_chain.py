"""Flows whose links end while workers, schedulers and supervisors die: each link is started once."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing, suppress
from itertools import pairwise

import qd
from qd.client.flow import Flow
from qd.protocol import keys
from qd.protocol.flow import Place
from tests.chaos.fleet import Fleet
from tests.chaos.judge import Fault
from tests.chaos.scene_storm import kill
from tests.chaos.stage import Measure, Stage
from tests.support.wait import eventually

_WITHIN = 1200.0
_ON_ITS_WAY = 2.0
"""
Links are kept, so a look at all that is stored (`Watch`) holds up Redis, and the ends of links, for up to two
seconds. A link that was enqueued twice would start again without any death near.
"""

_AIMED = 0.5
"""The share of kills that hit the worker which has just run a link, and is about to move its flow."""


def chain(stage: Stage) -> list[Measure]:
    """One link after the other."""
    with closing(_app(stage)) as app:
        link = app.new_task("work").payload({"seconds": 0})
        count = stage.profile.links
        flow = qd.chain(*[link] * count)
        return _play(stage, flow, f"chain of {count:,} links", stage.profile.link_kills)


def fan_in(stage: Stage) -> list[Measure]:
    """Many side by side, twice, and one behind them all."""
    with closing(_app(stage)) as app:
        link = app.new_task("work").payload({"seconds": 0.05})
        count = stage.profile.side_by_side
        wide = qd.gather([link] * count)
        title = f"twice {count:,} links side by side"
        return _play(stage, link >> wide >> wide >> link, title, stage.profile.link_kills // 5)


def _app(stage: Stage) -> qd.App:
    return qd.App("flows", config={"redis": {"addrs": [stage.server.url]}})


def _play(stage: Stage, flow: Flow, title: str, kills: int) -> list[Measure]:
    fleet = stage.fleet()
    for name in ("a", "b"):
        fleet.add(name)
    links = sum(1 for _ in flow.links())
    began = time.monotonic()
    info = flow.enqueue()
    ids = [Place(info.id, number).task_id for number in range(1, links + 1)]
    stage.producer.acked.update(dict.fromkeys(ids, began))
    faults = _kill_on_the_way(stage, fleet, info.id, links, kills)
    with suppress(AssertionError):
        eventually(lambda: _ended(stage, info.id) == links, _WITHIN)
    took = time.monotonic() - began
    with suppress(AssertionError):
        eventually(lambda: not stage.client.exists(keys.ended_links("default")), within=30)
    fleet.stop()
    ended = _ended(stage, info.id)
    verdict = stage.verdict(fleet, faults, on_its_way=_ON_ITS_WAY)
    for task_id in verdict.unexplained[:5]:
        stage.say(f"started again without a fault: {task_id}")
    title = f"{title} under {kills} kills"
    return [
        Measure(f"{title}: not ended, as the flow has it", "0", str(links - ended), ended == links),
        Measure(f"{title}: lost", "0", str(len(verdict.lost)), not verdict.lost),
        Measure(
            f"{title}: started again though no process died inside",
            "0",
            f"{len(verdict.unexplained)} (of {verdict.extra} started again)",
            not verdict.unexplained,
        ),
        Measure(
            f"{title}: time, longest pause between two ends",
            "",
            f"{took:.1f} s, {_longest_pause(fleet):.1f} s",
            None,
        ),
    ]


def _longest_pause(fleet: Fleet) -> float:
    ends = sorted(event.at for event in fleet.journal.events() if event.what == "end")
    return max((later - end for end, later in pairwise(ends)), default=0.0)


def _ended(stage: Stage, flow: str) -> int:
    return int(stage.client.hget(keys.flow(flow), "ended") or 0)  # type: ignore[arg-type]


def _kill_on_the_way(stage: Stage, fleet: Fleet, flow: str, links: int, kills: int) -> list[Fault]:
    """Kills spread over the links, not over the time: each falls on a flow at work."""
    faults: list[Fault] = []
    for number in range(kills):
        due = links * (number + 1) // (kills + 1)
        eventually(lambda due=due: _ended(stage, flow) >= due, within=_WITHIN)  # type: ignore[misc]
        aimed = stage.random.random() < _AIMED
        faults.append((aimed and _kill_who_was_last(fleet)) or kill(stage, fleet))
        if number % 20 == 19:
            stage.say(f"{number + 1} kills, {_ended(stage, flow)} links ended")
    return faults


def _kill_who_was_last(fleet: Fleet) -> Fault | None:
    """Kill the worker that has written the last line of the journal."""
    pid = int(fleet.journal.path.read_text().splitlines()[-1].split(" ")[3])
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return None
    return Fault(time.monotonic(), "kill -9 of a worker that has run a link", frozenset([pid]))
