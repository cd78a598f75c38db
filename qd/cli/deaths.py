"""What tasks died of: errors that differ only in numbers and ids are one kind."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from qd.cli.render import iso
from qd.cli.tasktext import first_line

if TYPE_CHECKING:
    from qd.inspector.views import TaskView

# Ids first: they contain numbers.
_ID = re.compile(
    r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b(?=\w*\d)[0-9a-f]{12,}\b", re.I
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(slots=True)
class DeathGroup:
    """Dead tasks of one type with one kind of error; `example` is the id of the latest."""

    type: str
    error: str
    count: int = 0
    first: datetime | None = None
    last: datetime | None = None
    queues: set[str] = field(default_factory=set)
    example: str = ""

    def add(self, view: TaskView) -> None:
        """Count one more."""
        self.count += 1
        self.queues.add(view.queue)
        died = view.archived_at
        if died is not None:
            self.first = died if self.first is None else min(self.first, died)
        if self.last is None or (died is not None and died >= self.last):
            self.last, self.example = died, view.id

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "type": self.type,
            "error": self.error,
            "count": self.count,
            "first": None if self.first is None else iso(self.first),
            "last": None if self.last is None else iso(self.last),
            "queues": sorted(self.queues),
            "example": self.example,
        }


def group_by_error(views: Iterable[TaskView]) -> list[DeathGroup]:
    """Return the kinds of deaths, the most frequent first."""
    groups: dict[tuple[str, str], DeathGroup] = {}
    for view in views:
        kind = kind_of(view.error or view.cause)
        groups.setdefault((view.type, kind), DeathGroup(view.type, kind)).add(view)
    return sorted(groups.values(), key=lambda group: (-group.count, group.type, group.error))


def kind_of(error: str) -> str:
    """Return the first line of an error with ids as `<id>` and numbers as `<n>`."""
    return _NUMBER.sub("<n>", _ID.sub("<id>", first_line(error)))
