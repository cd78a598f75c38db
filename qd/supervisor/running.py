"""
Which tasks a child is running right now, in memory it shares with its parent.

Written before a handler starts and after it has ended, so that it tells, whatever kills the child,
which tasks saw its death; and, while a child hangs that holds its interpreter's lock, which task has
no time left. Costs no system call.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator

_ENTRIES = 512
_NAME = 256
_MOMENT = struct.Struct("d")
_MOMENTS = struct.Struct(f"{_ENTRIES}d")
_NAMES_AT = _MOMENTS.size


class RunningTable:
    """
    Made before the fork; the child writes, the parent reads.

    Holds up to 512 names of up to 255 bytes; what does not fit is not noted, which only means that a
    death is not counted for it, and that nobody but the child itself looks at its time. The same
    name may run twice: a task that was put back can come in again while its old handler goes on.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _NAMES_AT + _NAME * _ENTRIES)
        self._free = list(range(_ENTRIES))[::-1]
        self._taken: dict[str, list[int]] = {}

    def start(self, name: str, until: float) -> None:
        """A handler starts; if it still runs at *until* (Unix seconds), the child does not obey."""
        raw = name.encode() + b"\0"
        if not self._free or len(raw) > _NAME:
            return
        entry = self._free.pop()
        self._taken.setdefault(name, []).append(entry)
        _MOMENT.pack_into(self._memory, entry * _MOMENT.size, until)
        # The name last: with its first byte the entry counts.
        at = _NAMES_AT + entry * _NAME
        self._memory[at + 1 : at + len(raw)] = raw[1:]
        self._memory[at] = raw[0]

    def end(self, name: str) -> None:
        entries = self._taken.get(name)
        if entries is None:
            return
        entry = entries.pop()
        if not entries:
            del self._taken[name]
        self._memory[_NAMES_AT + entry * _NAME] = 0
        self._free.append(entry)

    def read(self) -> list[str]:
        """Return the names of what is running, or was when the child died."""
        return [self._name(entry) for entry, _ in self._entries()]

    def overdue(self, now: float) -> list[str]:
        """Return the names of what should have ended by *now* (Unix seconds)."""
        return [self._name(entry) for entry, until in self._entries() if until <= now]

    def next_overdue(self, now: float) -> float | None:
        """Return the moment (Unix seconds) after *now* at which the next of them is overdue."""
        moments = (until for _, until in self._entries() if now < until < math.inf)
        return min(moments, default=None)

    @property
    def any_ended(self) -> bool:
        """True if a task has run here and is over."""
        # An entry that was used keeps its moment.
        moments = _MOMENTS.unpack_from(self._memory)
        return sum(map(bool, moments)) > len(self.read())

    def close(self) -> None:
        self._memory.close()

    def _entries(self) -> Iterator[tuple[int, float]]:
        for entry, until in enumerate(_MOMENTS.unpack_from(self._memory)):
            if until and self._memory[_NAMES_AT + entry * _NAME]:
                yield entry, until

    def _name(self, entry: int) -> str:
        at = _NAMES_AT + entry * _NAME
        raw = self._memory[at : at + _NAME]
        return raw[: raw.index(0)].decode("utf-8", "replace")
