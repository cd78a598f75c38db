"""Groups are merged while schedulers, workers and supervisors die: each task gets into one batch."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import suppress

from tests.chaos.fleet import Fleet
from tests.chaos.stage import Measure, Stage
from tests.support.wait import eventually

_GROUPS = 10
_SIZE = 20
_SETTINGS = {"group": {"grace_period": "1s", "max_delay": "2s", "max_size": _SIZE}}
_KILL_EVERY = 0.4
"""Seconds from one kill to the next."""

_ROLES = ("scheduler", "worker", "supervisor")
_WEIGHTS = (60, 30, 10)


def run(stage: Stage) -> list[Measure]:
    count, kills = stage.profile.grouped, stage.profile.group_kills
    fleet = stage.fleet(scheduler=_SETTINGS)
    for name in ("a", "b"):
        fleet.add(name)
    share = count // kills
    for number in range(kills):
        began = time.monotonic()
        _send(stage, number * share, share)
        _kill(stage, fleet)
        time.sleep(max(0.0, began + _KILL_EVERY - time.monotonic()))
    stage.producer.acked.clear()  # They end as members of others, which `invariants` knows nothing of.
    eventually(lambda: _left(stage) == 0, within=120)
    fleet.stop()
    found = {event.id for event in fleet.journal.events() if event.what == "member"}
    batches = Counter(int(member.partition("/")[2]) for member in found)
    missing = share * kills - len(batches)
    doubled = sum(times > 1 for times in batches.values())
    sizes = Counter(member.partition("/")[0] for member in found)
    title = f"{share * kills:,} tasks in {_GROUPS} groups, {kills} kills"
    return [
        Measure(f"{title}: in no batch", "0", str(missing), missing == 0),
        Measure(f"{title}: in more than one", "0", str(doubled), doubled == 0),
        Measure(
            f"{title}: batches, the largest",
            f"<= {_SIZE}",
            f"{len(sizes):,}, {max(sizes.values(), default=0)}",
            max(sizes.values(), default=0) <= _SIZE,
        ),
    ]


def _send(stage: Stage, first: int, count: int) -> None:
    for group in range(_GROUPS):
        numbers = range(first + group, first + count, _GROUPS)
        stage.producer.send(
            "number", len(numbers), lambda n, of=numbers: {"n": of[n]}, group=f"numbers-{group}"
        )


def _left(stage: Stage) -> int:
    """How many members wait for a batch, and batches for their end."""
    waiting = 0
    for key in stage.client.scan_iter("asynq:{default}:g:*"):
        waiting += stage.client.zcard(key)
    return waiting + stage.unsettled()


def _kill(stage: Stage, fleet: Fleet) -> None:
    role = stage.random.choices(_ROLES, _WEIGHTS)[0]
    host = stage.random.choice(fleet.hosts)
    if not host.alive:
        return
    found = [host.pid] if role == "supervisor" else host.children(role)
    if found:
        with suppress(ProcessLookupError):
            os.kill(stage.random.choice(found), signal.SIGKILL)
