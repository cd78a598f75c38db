"""
The Lua scripts: loaded from `lua/`, one file per operation, text read at first use.

A script's header names its keys and arguments; a line `-- include: NAME` puts `lua/lib/NAME.lua`
before the body. A line that begins with `-->` is sent only where a timeline is kept, and
`lua/lib/note.lua` before it. The first line of the text sent may be a shebang with flags; servers older than
7.0 do not know it, so `plain` is the same text without. A script `around` another one has that other as
its function `take_in(KEYS, ARGV)`. For a test kit, those that ask for the time ask `lua/lib/clock.lua` instead.
"""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

_FOLDER = Path(__file__).with_name("lua")

_INCLUDE = re.compile(r"^-- include: (\w+)$", re.MULTILINE)
_KEY = re.compile(r"^-- KEYS\[(\d+|\.\.)\]", re.MULTILINE)
_FLAGS = re.compile(r"^-- flags: (.+)$", re.MULTILINE)
_NOTED = re.compile(r"^(\s*)--> ", re.MULTILINE)
_TIME = "redis.call('TIME')"
_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)


class Script(Struct, frozen=True, dict=True):
    """One script by name. Comments are stripped from what goes over the wire."""

    name: str
    notes: bool = False
    """Note what it moves: for a link that keeps a timeline, see `timeline`."""
    around: str = ""
    on_kit_clock: bool = False
    """Go by the clock of a test kit, see `for_kit`."""

    @cached_property
    def source(self) -> str:
        return _read(self.name)

    @cached_property
    def key_count(self) -> int | None:
        """How many keys the header names; None when it takes any number."""
        found = _KEY.findall(self.source)
        return None if ".." in found else len(found)

    @cached_property
    def noting(self) -> Script | None:
        """The same script, noting what it moves; None if it moves no task."""
        return replace(self, notes=True) if _NOTED.search(self._joined(())) else None

    @cached_property
    def for_kit(self) -> Script:
        """The same script, going by the clock of a test kit; itself if it asks for no time."""
        return replace(self, on_kit_clock=True) if _TIME in self._joined(()) else self

    @cached_property
    def plain(self) -> str:
        joined = self._joined(("note",)) if self.notes else self._joined(())
        text = _COMMENT.sub("", _NOTED.sub(r"\1", joined) if self.notes else joined)
        if self.on_kit_clock:
            text = _COMMENT.sub("", _read("lib/clock")) + text.replace(_TIME, "kit_time()")
        return text

    def _joined(self, first: tuple[str, ...]) -> str:
        parts = [_read(f"lib/{name}") for name in (*first, *_INCLUDE.findall(self.source))]
        if self.around:
            inner = Script(self.around)._joined(())
            parts.append(f"local function take_in(KEYS, ARGV)\n{inner}end\n")
        return "\n".join([*parts, self.source])

    @cached_property
    def text(self) -> str:
        flags = _FLAGS.search(self.source)
        return f"#!lua flags={flags[1]}\n{self.plain}" if flags else self.plain

    @cached_property
    def sha(self) -> str:
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    @cached_property
    def plain_sha(self) -> str:
        return hashlib.sha1(self.plain.encode(), usedforsecurity=False).hexdigest()


def _read(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text("utf-8")
