"""
Values as text: for people in tables, exact in plain output, never with control characters.

What comes out of Redis was written by anybody. `printable` makes it harmless for a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Cell = str | int | float | bool | datetime | timedelta | None

BEGINNING = 8
"""Characters of a made id that tell it from others, as good as always."""

_MADE = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Column(Generic[T]):
    """
    One column: its heading and how to get the value of a row.

    For terminals that are too narrow: `shrinks` marks long text that may be cut, `flows` text that may
    be longer than a line, `names` ids, which are cut to a beginning that commands take; `short` is
    another title.
    """

    def __init__(
        self,
        title: str,
        value: Callable[[T], Cell],
        *,
        shrinks: bool = False,
        names: bool = False,
        flows: bool = False,
        short: str = "",
    ) -> None:
        self.title = title
        self.value = value
        self.shrinks = shrinks
        self.names = names
        self.flows = flows
        self.short = short


def printable(text: str) -> str:
    r"""Write everything that could move a cursor, ring a bell or hide text as `\n`, `\x1b` ..."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def for_people(value: Cell, now: datetime) -> str:
    """Write a value for a table: moments relative to `now`, durations in one unit."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return relative(value, now)
    if isinstance(value, timedelta):
        return rough(value.total_seconds())
    if isinstance(value, float):
        return f"{value:.1f}"
    return printable(str(value))


def exact(value: Cell) -> str:
    """Write a value for programs: ISO 8601, seconds, empty for nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}"
    return printable(str(value))


def iso(moment: datetime) -> str:
    """Write a moment as ISO 8601 in UTC, such as `2030-01-31T08:00:00Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def relative(moment: datetime, now: datetime) -> str:
    """Write a moment as `in 5m`, `2h ago` or `now`."""
    distance = (moment - now).total_seconds()
    if abs(distance) < 1:
        return "now"
    return f"in {rough(distance)}" if distance > 0 else f"{rough(-distance)} ago"


def rough(seconds: float) -> str:
    """Write a duration in its largest unit, rounded: `9s`, `41m`, `5h`, `3d`."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        # Up to two of a unit the smaller one says more: 90s is 90s, not 1m.
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def size(count: float) -> str:
    """Write bytes for people: `512 B`, `1.5 KiB`, `3.2 MiB`."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def plural(count: int, noun: str, several: str = "") -> str:
    """Return `1 task`, `2 tasks`; `several` where an s is not enough."""
    return f"{count} {noun if count == 1 else several or noun + 's'}"


def as_json(document: Any) -> str:
    """
    Encode as one line of JSON; moments become ISO 8601, everything unprintable an escape.

    Letters of all languages stay readable.
    """
    import json

    text = json.dumps(document, ensure_ascii=False, default=_json_default)
    if text.isprintable():
        return text
    # A character outside the first plane takes two escapes, as everywhere in JSON.
    return re.sub(
        r"[^\x20-\x7e]",
        lambda match: match[0] if match[0].isprintable() else json.dumps(match[0])[1:-1],
        text,
    )


def _json_default(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def is_made_id(text: str) -> bool:
    """Tell whether an id looks like those that are made where none is given: a UUID."""
    return _MADE.fullmatch(text) is not None
