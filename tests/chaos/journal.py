"""
What handlers say they did: an append-only file, one line an event, whoever is killed when.

Each line is one write to a descriptor opened with O_APPEND, so that lines of many processes neither
mix nor overwrite each other, and what was written stays written whatever happens to the writer.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.support.lines import whole_lines

ENV = "CHAOS_JOURNAL"

_open: dict[int, int] = {}


class Event(NamedTuple):
    """*at* is CLOCK_MONOTONIC, the same for all processes of a machine; *what* is start or end."""

    at: float
    what: str
    id: str
    pid: int
    retried: int


class Run(NamedTuple):
    """One run of a handler; *end* is None if it never came to its last line."""

    id: str
    pid: int
    retried: int
    start: float
    end: float | None


def note(what: str, task_id: str, retried: int) -> None:
    """Add a line to the file named by CHAOS_JOURNAL."""
    pid = os.getpid()
    if pid not in _open:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        _open[pid] = os.open(os.environ[ENV], flags, 0o600)
    os.write(_open[pid], f"{time.monotonic():.4f} {what} {task_id} {pid} {retried}\n".encode())


@dataclass
class Journal:
    """The file, read from the side of the judge."""

    path: Path

    def events(self) -> list[Event]:
        """All events so far, in the order in which they were written."""
        lines = (line.split(" ") for line in whole_lines(self.path))
        return [
            Event(float(at), what, task_id, int(pid), int(retried))
            for at, what, task_id, pid, retried in lines
        ]

    def runs(self) -> list[Run]:
        return list(pair(self.events()))

    def count(self, what: str) -> int:
        """How many events of a kind there are; cheaper than reading them."""
        if not self.path.exists():
            return 0
        return self.path.read_bytes().count(f" {what} ".encode())


def pair(events: Iterable[Event]) -> Iterable[Run]:
    """Put starts and ends together: the end of a run is the next one of its task and its process."""
    starts: dict[tuple[str, int], list[Event]] = defaultdict(list)
    ends: dict[tuple[str, int], list[Event]] = defaultdict(list)
    for event in events:
        (starts if event.what == "start" else ends)[event.id, event.pid].append(event)
    for key, begun in starts.items():
        later = ends[key]
        for number, event in enumerate(begun):
            until = begun[number + 1].at if number + 1 < len(begun) else float("inf")
            end = next((one.at for one in later if event.at <= one.at <= until), None)
            yield Run(event.id, event.pid, event.retried, event.at, end)
