"""
What one process has counted since it last told: tasks ended and how, how long they took and waited.

A process counts only if `start` was called in it, which `monitor.address` asks for; `current()` is
None otherwise, and nothing is paid. A report holds what is new since the one before, as JSON, so
that whoever adds up the reports of all processes keeps the share of those that are dead.
"""

from __future__ import annotations

import json
import threading
from bisect import bisect_left
from typing import Any

DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
"""Upper bounds of the histograms' buckets, in seconds; a last one takes the rest."""

PROCESSED = "asynq_tasks_processed_total"
ENQUEUED = "asynq_tasks_enqueued_total"
DURATION = "asynq_task_duration_seconds"
LATENCY = "asynq_task_latency_seconds"
HANDED_BACK = "qd_orphans_handed_back_total"
DEATHS = "qd_worker_deaths_total"
ACTIONS = "qd_scheduler_actions_total"
BREAKERS = "qd_breaker_changes_total"
REDIS_ERRORS = "qd_redis_errors_total"

LONGEST_REPORT = 60_000
"""Bytes; a datagram of this size passes any socket of Linux."""

_MOST_NAMES = 200
OTHER = "other"
"""Stands for all further task types: their number is in the hands of producers."""


class Tally:
    """
    Counters and histograms by name and labels; for any thread.

    Names are those above; which labels they have stands in `qd/monitor/families.py`.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str, ...], int] = {}
        self._timed: dict[tuple[str, ...], list[float]] = {}
        self._types: dict[str, str] = {}
        self._lock = threading.Lock()

    def add(self, name: str, *labels: str, by: int = 1) -> None:
        key = (name, *labels)
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + by

    def observe(self, name: str, label: str, seconds: float) -> None:
        with self._lock:
            cells = self._timed.get((name, label))
            if cells is None:
                cells = self._timed[name, label] = [0.0] * (len(DURATIONS) + 2)
            cells[bisect_left(DURATIONS, seconds)] += 1
            cells[-1] += seconds

    def type_label(self, task_type: str) -> str:
        """Return *task_type*, or `other` once there have been 200 different ones."""
        if len(self._types) < _MOST_NAMES:
            return self._types.setdefault(task_type, task_type)
        return self._types.get(task_type, OTHER)

    def take(self, **facts: Any) -> list[bytes]:
        """
        Return what is new as reports that fit into datagrams, each with *facts*; start anew.

        There is always one, for it is a sign of life, too.
        """
        with self._lock:
            counts, self._counts = self._counts, {}
            timed, self._timed = self._timed, {}
        lines: list[list[Any]] = [[*key, n] for key, n in counts.items()]
        lines += [[*key, cells] for key, cells in timed.items()]
        reports = [json.dumps(facts | {"new": lines}).encode()]
        if len(reports[0]) > LONGEST_REPORT:
            parts = [lines[start : start + 100] for start in range(0, len(lines), 100)]
            reports = [json.dumps(facts | {"new": part}).encode() for part in parts]
        return reports


_current: Tally | None = None


def start() -> Tally:
    """Count from now on in this process."""
    global _current
    _current = Tally()
    return _current


def current() -> Tally | None:
    """Return the tally of this process, or None where nobody asked for one."""
    return _current
