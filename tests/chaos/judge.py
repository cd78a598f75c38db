"""
Says what became of every task, from three things only: the ids that producers had acknowledged, the
journal of the handlers, and Redis at the end. It never asks qd.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from tests.chaos.dump import Dump
from tests.chaos.journal import Run

_ANSWER_ON_ITS_WAY = 0.25
"""
Seconds between the last line of a handler and its record in Redis, at most. A process killed in
between runs the task again: of all duplicates, these are the ones that nobody can avoid. Outcomes go
out in the turn of the loop in which they come, at most one batch behind another; the rest is for a
process that waits for its turn on a machine where several have work to do. The longest that was made
use of is in `Verdict.latest`.
"""


class Fault(NamedTuple):
    """Processes that were killed, frozen or told to stop at a moment (CLOCK_MONOTONIC)."""

    at: float
    what: str
    pids: frozenset[int]


@dataclass(frozen=True)
class Verdict:
    """
    lost: acknowledged, never ended by a handler, and in no state from which they would be.
    unfinished: still waiting or held. archived: in the dead letters. charged: retries counted in
    runs or left in Redis. extra: starts beyond the first of each task. in_flight: runs that were
    under way when a fault hit their process. unexplained: further starts of tasks whose run before
    that was cut off by no fault. latest: the longest that a run which was repeated had ended before
    the fault that excuses it, in seconds.
    """

    acked: int
    lost: list[str]
    unfinished: list[str]
    archived: list[str]
    charged: int
    extra: int
    in_flight: int
    unexplained: list[str]
    last_end: float
    latest: float


def judge(
    acked: Collection[str],
    runs: Iterable[Run],
    faults: Iterable[Fault],
    dump: Dump,
    on_its_way: float = _ANSWER_ON_ITS_WAY,
) -> Verdict:
    """*on_its_way*: how long an answer may be, in seconds."""
    by_id: dict[str, list[Run]] = defaultdict(list)
    by_pid: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        by_id[run.id].append(run)
        by_pid[run.pid].append(run)
    ended = {task_id for task_id, many in by_id.items() if any(run.end for run in many)}
    caught = {
        (fault, run)
        for fault in faults
        for pid in fault.pids
        for run in by_pid[pid]
        if run.end is None or fault.at <= run.end + on_its_way
    }
    cut_off = {run for _, run in caught}
    in_flight = {run for fault, run in caught if run.start <= fault.at <= (run.end or fault.at)}
    repeated = {
        run
        for many in by_id.values()
        for run in sorted(many, key=lambda run: run.start)[:-1]
        if run.end is not None
    }
    latest = [
        min(fault.at - run.end for fault, one in caught if one is run and run.end is not None)
        for run in repeated & cut_off
    ]
    where = {task.id: task for task in dump.tasks}
    unexplained = [
        task_id
        for task_id, many in by_id.items()
        for run in sorted(many, key=lambda run: run.start)[:-1]
        if run not in cut_off
    ]
    return Verdict(
        acked=len(acked),
        lost=[one for one in acked if one not in ended and one not in where],
        unfinished=[
            one
            for one in acked
            if one in where and where[one].state not in ("archived", "completed")
        ],
        archived=[one for one in acked if one in where and where[one].state == "archived"],
        charged=sum(max(run.retried for run in many) for many in by_id.values())
        + sum(task.retried for task in dump.tasks),
        extra=sum(len(many) - 1 for many in by_id.values()),
        in_flight=len(in_flight),
        unexplained=unexplained,
        last_end=max((run.end for many in by_id.values() for run in many if run.end), default=0.0),
        latest=max(latest, default=0.0),
    )
