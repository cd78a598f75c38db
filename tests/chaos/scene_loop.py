"""A handler is caught in a loop in C: it listens to nothing, and keeps the interpreter's lock."""

from __future__ import annotations

from tests.chaos.fleet import Fleet
from tests.chaos.stage import Measure, Stage
from tests.support.wait import eventually

_LIMIT = 2.0
_GRACE = {"short": 1.0, "full": 5.0}
_MARGIN = 1.0


def run(stage: Stage) -> list[Measure]:
    """One process of one slot beside the loop; its neighbours are tasks that wait at the gate."""
    grace = _GRACE[stage.profile.name]
    fleet = stage.fleet()
    fleet.add("a", processes=1, concurrency=4, hard_grace=f"{grace}s")
    neighbours = stage.producer.send("gate", 2)
    eventually(lambda: fleet.journal.count("start") == 2, within=10)
    [looping] = stage.producer.send("loop", timeout=_LIMIT, max_retry=0)
    began = eventually(lambda: _starts(fleet, looping), within=10)[0]
    # As many as there are slots: one of them needs that of the loop.
    later = stage.producer.send("work", 4)
    eventually(lambda: all(_starts(fleet, one) for one in later), within=60)
    usable = max(_starts(fleet, one)[0] for one in later) - began
    fleet.gate.touch()
    eventually(lambda: stage.unsettled() == 0, within=60)
    fleet.stop()
    verdict = stage.verdict(fleet, [])
    bound = _LIMIT + grace + _MARGIN
    title = f"C loop with a limit of {_LIMIT:g} s"
    ended = {event.id for event in fleet.journal.events() if event.what == "end"}
    return [
        Measure(f"{title}: slots usable again", f"{bound:g} s", f"{usable:.1f} s", usable <= bound),
        Measure(
            f"{title}: archived, neighbours ended, retries charged to them",
            "1, 2, 0",
            f"{len(verdict.archived)}, {len(ended & set(neighbours))}, {verdict.charged}",
            verdict.archived == [looping] and ended >= set(neighbours) and not verdict.charged,
        ),
    ]


def _starts(fleet: Fleet, task_id: str) -> list[float]:
    events = fleet.journal.events()
    return [one.at for one in events if one.id == task_id and one.what == "start"]
