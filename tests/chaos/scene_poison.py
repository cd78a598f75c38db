"""A task that kills its process, among others that must not feel it."""

from __future__ import annotations

from tests.chaos.fleet import Fleet
from tests.chaos.stage import Measure, Stage, percentile
from tests.support.wait import eventually

_KINDS = ("segfault", "exit", "abort", "kill")
_RATE = 100.0
_DEATHS = 2
_WORSE = 1.1


def run(stage: Stage) -> list[Measure]:
    fleet = stage.fleet()
    for name in ("a", "b"):
        fleet.add(name)
    without = percentile(_others(stage, fleet, None), 0.99)
    measures = [_deaths(stage, fleet, kind) for kind in _KINDS]
    others = _others(stage, fleet, "segfault")
    fleet.stop()
    verdict = stage.verdict(fleet, [])
    poisoned = len(_KINDS) + 1
    with_one = percentile(others, 0.99)
    title = f"poison among {stage.profile.poison_tasks:,} tasks"
    return [
        *measures,
        Measure(
            f"{title}: p99 of the others, enqueue to end",
            f"<= {_WORSE:g} x {1000 * without:.0f} ms without",
            f"{1000 * with_one:.0f} ms",
            with_one <= _WORSE * without,
        ),
        Measure(
            f"{title}: others lost, archived, charged",
            "0, 0, 0",
            f"{len(verdict.lost)}, {len(verdict.archived) - poisoned}, {verdict.charged}",
            not verdict.lost and len(verdict.archived) == poisoned and not verdict.charged,
        ),
    ]


def _deaths(stage: Stage, fleet: Fleet, kind: str) -> Measure:
    """How many processes one task of a kind kills before it is put away."""
    [task_id] = stage.producer.send("poison", payload={"how": kind})
    eventually(lambda: stage.client.zscore("asynq:{default}:archived", task_id), within=60)
    deaths = sum(event.id == task_id for event in fleet.journal.events())
    return Measure(
        f"poison ({kind}): deaths until archived", str(_DEATHS), str(deaths), deaths == _DEATHS
    )


def _others(stage: Stage, fleet: Fleet, poison: str | None) -> list[float]:
    """Seconds from enqueue to end of a steady stream, with one poison task in its middle."""
    for host in fleet.hosts:
        host.wait_ready(2)
    known = set(stage.producer.acked)
    count = stage.profile.poison_tasks
    stage.producer.start("work", rate=_RATE, count=count)
    eventually(lambda: len(stage.producer.acked) - len(known) > count // 2, within=120)
    if poison is not None:
        known.update(stage.producer.send("poison", payload={"how": poison}))
    stage.producer.wait()
    eventually(lambda: stage.unsettled() == 0, within=60)
    acked = stage.producer.acked
    return [
        event.at - acked[event.id]
        for event in fleet.journal.events()
        if event.what == "end" and event.id in acked and event.id not in known
    ]
