"""What the reports of all processes add up to, and what the latest one of each said."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from qd.observability.tally import DURATIONS

_SILENT = 3.0
"""Seconds without a report after which a process is looked for; it may be dead."""


class Process(Struct, frozen=True):
    """The latest report of a living process. `lag`: seconds its event loop was late; `seen_at`: of
    the monotonic clock."""

    pid: int
    role: str
    seen_at: float
    lag: float
    busy: int = 0
    slots: int = 0
    ready: bool = True


class Totals:
    """
    Adds up reports. Safe for one writer and any number of readers.

    *alive* tells whether there is a process with this pid.
    """

    def __init__(self, alive: Callable[[int], bool]) -> None:
        self._alive = alive
        self._lock = threading.Lock()
        self._processes: dict[int, Process] = {}
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._timed: dict[tuple[str, str], list[float]] = {}
        self.starts: Counter[str] = Counter()
        """Processes heard of for the first time, by role."""

    def add(self, report: bytes, now: float) -> None:
        """Take in one report; *now* is of the monotonic clock."""
        facts: dict[str, Any] = json.loads(report)
        with self._lock:
            for *key, value in facts.pop("new"):
                if isinstance(value, int):
                    self._counts[tuple(key)] += value
                    continue
                name, label = key
                cells = self._timed.setdefault((name, label), [0.0] * (len(DURATIONS) + 2))
                for index, cell in enumerate(value):
                    cells[index] += cell
            process = Process(seen_at=now, **facts)
            if process.pid not in self._processes:
                self.starts[process.role] += 1
            self._processes[process.pid] = process

    def processes(self, now: float) -> list[Process]:
        """Return the processes that live; those that were silent for a while are looked for."""
        with self._lock:
            for process in list(self._processes.values()):
                if now - process.seen_at > _SILENT and not self._alive(process.pid):
                    del self._processes[process.pid]
            return list(self._processes.values())

    def counts(self) -> dict[tuple[str, ...], int]:
        """Return the counters, by name and labels."""
        with self._lock:
            return dict(self._counts)

    def timed(self) -> dict[tuple[str, str], list[float]]:
        """Return the histograms by name and label: a count for each bucket, then the sum in seconds."""
        with self._lock:
            return {key: list(cells) for key, cells in self._timed.items()}
