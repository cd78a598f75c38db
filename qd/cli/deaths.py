"""What tasks died of: errors that differ only in numbers and ids are one kind."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from qd.cli.render import iso
from qd.cli.tasktext import first_line

if TYPE_CHECKING:
    from qd.inspector.glance import Glance

# Ids first: they contain numbers.
_ID = re.compile(
    r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b(?=\w*\d)[0-9a-f]{12,}\b", re.I
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_EXCEPTION = re.compile(r"([A-Za-z_][\w.]*)(?::|$)")

_BARS = "▁▂▃▄▅▆▇█"
COLUMNS = 16
"""Into how many spans of equal length the time of all deaths is cut."""


@dataclass(slots=True)
class DeathGroup:
    """
    Dead tasks of one type with one kind of error; `example` is the id of the latest.

    `deaths` are Unix seconds, `history` how many died in each span of the time that is shown.
    """

    type: str
    error: str
    queues: set[str] = field(default_factory=set)
    example: str = ""
    deaths: array[float] = field(default_factory=lambda: array("d"))
    history: list[int] = field(default_factory=list)
    _latest: float = -1.0

    @property
    def count(self) -> int:
        return len(self.deaths)

    @property
    def exception(self) -> str:
        """The word before the first colon, which in Python is the class of the exception."""
        found = _EXCEPTION.match(self.error)
        return found[1] if found else ""

    @property
    def first(self) -> datetime:
        return datetime.fromtimestamp(min(self.deaths), UTC)

    @property
    def last(self) -> datetime:
        return datetime.fromtimestamp(max(self.deaths), UTC)

    @property
    def sparkline(self) -> str:
        most = max(self.history)
        return "".join(_BARS[-(-one * (len(_BARS) - 1) // most)] for one in self.history)

    def add(self, task: Glance) -> None:
        """Count one more."""
        died = task.since or 0.0
        self.deaths.append(died)
        self.queues.add(task.queue)
        if died >= self._latest:
            self._latest, self.example = died, task.id

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "type": self.type,
            "exception": self.exception,
            "error": self.error,
            "count": self.count,
            "first": iso(self.first),
            "last": iso(self.last),
            "history": self.history,
            "queues": sorted(self.queues),
            "example": self.example,
        }


def group_by_error(tasks: Iterable[Glance]) -> list[DeathGroup]:
    """Return the kinds of deaths, the most frequent first, with histories over the same time."""
    groups: dict[tuple[str, str], DeathGroup] = {}
    for task in tasks:
        key = (task.type, kind_of(task.error))
        group = groups.get(key)
        if group is None:
            group = groups[key] = DeathGroup(*key)
        group.add(task)
    found = list(groups.values())
    if found:
        first = min(min(group.deaths) for group in found)
        last = max(max(group.deaths) for group in found)
        for group in found:
            group.history = _history(group.deaths, first, last)
    return sorted(found, key=lambda group: (-group.count, group.type, group.error))


def kind_of(error: str) -> str:
    """Return the first line of an error with ids as `<id>` and numbers as `<n>`."""
    return _NUMBER.sub("<n>", _ID.sub("<id>", first_line(error)))


def _history(deaths: Sequence[float], first: float, last: float) -> list[int]:
    counts = [0] * COLUMNS
    span = (last - first) / COLUMNS or 1.0
    for died in deaths:
        counts[min(int((died - first) / span), COLUMNS - 1)] += 1
    return counts
