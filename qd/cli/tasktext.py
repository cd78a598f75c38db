"""What people read of a task: its state, its age, its error in one line."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qd.inspector.views import TaskView


def describe(view: TaskView) -> str:
    """Return a task in one line: id, type, queue and state, and its error."""
    parts = [view.id, view.type or "?", view.queue, state_of(view)]
    if view.error:
        parts.append(first_line(view.error))
    return "  ".join(parts)


def state_of(view: TaskView) -> str:
    """Return the state as people should see it: what is wrong with the task comes first."""
    if view.missing:
        return "missing"
    if view.undecodable:
        return "unreadable"
    if is_poison(view):
        return "poison"
    return "orphaned" if view.orphaned else view.state


def is_poison(view: TaskView) -> bool:
    """Tell whether a task was archived because workers died running it."""
    from qd.protocol.constants import POISON_DEATHS

    return view.state == "archived" and view.deaths >= POISON_DEATHS


def since_when(view: TaskView) -> datetime | None:
    """Return since when a task has been in its state, as far as Redis knows."""
    known = {
        "archived": view.archived_at,
        "completed": view.completed_at,
        "retry": view.last_failed_at,
        "pending": view.pending_since,
    }
    return known.get(view.state)


def first_line(text: str, limit: int = 120) -> str:
    """Return the first line of an error, at most `limit` characters of it."""
    line = text.strip().partition("\n")[0]
    return line if len(line) <= limit else line[: limit - 1] + "…"


def content(data: bytes) -> str:
    """Return a payload or a result as text; bytes that are no text are escaped."""
    return data.decode("utf-8", "backslashreplace")
