"""One value that somebody set, together with the place where it was set."""

from __future__ import annotations

import re

from msgspec import Struct, field
from msgspec.structs import replace

# The names on the way from the root to a setting.
Path = tuple[str, ...]

# Stands for "only text is known": free-form data then has to be read as JSON.
_ONLY_TEXT = object()

_KEY_PART = re.compile(r'"([^"]*)"|([^."]+)')


class Place(Struct, frozen=True):
    """Where a value was written: a file with line and column, or the name of another source."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source

    @property
    def origin(self) -> str:
        """The place as `qd config show` names it, without the column."""
        return f"{self.source}:{self.line}" if self.line else self.source


class Given(Struct, frozen=True):
    """
    A value and its place.

    `value` is text to be read by the setting's kind, a value of Python, None, a list of `Given`
    or a dict of `Given` by name. `data` is the value as free-form data sees it. A `partial` dict
    was made from single dotted keys: it adds to what is below it and replaces nothing.
    """

    value: object
    place: Place
    key_place: Place
    data: object = field(default=_ONLY_TEXT)
    partial: bool = False
    via: tuple[str, ...] = ()

    @property
    def only_text(self) -> bool:
        """True for a value of the environment or of `--set`, which has no type of its own."""
        return self.data is _ONLY_TEXT

    @property
    def origin(self) -> str:
        """The place, and the references such as `${env:NAME}` through which the value came."""
        return " via ".join((self.place.origin, *self.via))


class Problem(Struct, frozen=True):
    """One thing that is wrong with the configuration."""

    place: Place
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


def merge(tree: dict[str, Given], path: Path, given: Given) -> None:
    """Put `given` at `path` into `tree`, over what stands there."""
    name, rest = path[0], path[1:]
    if not rest:
        tree[name] = given
        return
    below = tree.get(name)
    if below is None or not isinstance(below.value, dict):
        below = Given({}, given.place, given.key_place, partial=True)
    children: dict[str, Given] = dict(below.value)  # type: ignore[call-overload]
    merge(children, rest, given)
    tree[name] = replace(below, value=children)


def dotted(path: Path) -> str:
    """Join names to one key; a name with a dot in it is quoted: `tasks."a.b".timeout`."""
    return ".".join(f'"{name}"' if "." in name else name for name in path)


def split_key(key: str) -> Path:
    """Undo `dotted`. A key that is no key at all gives an empty tuple."""
    parts: list[str] = []
    position = 0
    while True:
        match = _KEY_PART.match(key, position)
        if match is None:
            return ()
        parts.append(match[1] if match[1] is not None else match[2])
        position = match.end()
        if position == len(key):
            return tuple(parts)
        if key[position] != ".":
            return ()
        position += 1
