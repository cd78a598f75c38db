"""
Which tasks a child is running right now, in memory it shares with its parent.

Written before a handler starts and after it has ended, so that it tells, whatever kills the child,
which tasks saw its death; and, while a child hangs that holds its interpreter's lock, which task has
no time left. Costs no system call.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator

_ENTRIES = 512
_NAME = 256
_NAMES_AT = 8 * (_ENTRIES + 1)
_FREE = 0.0
_ENDED = _ENTRIES
"""Place behind the moments: 1 as soon as a task is over. Entries cannot tell, for they are used again."""


class RunningTable:
    """
    Made before the fork; the child writes, the parent reads.

    Holds up to 512 names of up to 255 bytes; what does not fit is not noted, which only means that a
    death is not counted for it, and that nobody but the child itself looks at its time. The same
    name may run twice: a task that was put back can come in again while its old handler goes on.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _NAMES_AT + _NAME * _ENTRIES)
        self._moments = memoryview(self._memory)[:_NAMES_AT].cast("d")
        self._free = list(range(_ENTRIES))[::-1]
        self._taken: dict[str, int] = {}
        self._as_well: list[tuple[str, int]] = []

    def start(self, name: str, until: float) -> None:
        """A handler starts; if it still runs at *until* (Unix seconds), the child does not obey."""
        raw = name.encode() + b"\0"
        if not self._free or len(raw) > _NAME:
            return
        if name in self._taken:
            self._as_well.append((name, self._taken[name]))
        entry = self._taken[name] = self._free.pop()
        at = _NAMES_AT + entry * _NAME
        self._memory[at : at + len(raw)] = raw
        # The moment last: with it the entry counts.
        self._moments[entry] = until

    def end(self, name: str) -> None:
        """The handler that has started last under this name has ended."""
        entry = self._taken.pop(name, None)
        if entry is None:
            return
        if self._as_well:
            self._take_again(name)
        self._moments[entry] = _FREE
        self._moments[_ENDED] = 1.0
        self._free.append(entry)

    def _take_again(self, name: str) -> None:
        for place, (other, entry) in reversed(list(enumerate(self._as_well))):
            if other == name:
                self._taken[name] = entry
                del self._as_well[place]
                return

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
        return self._moments[_ENDED] > 0

    def close(self) -> None:
        self._moments.release()
        self._memory.close()

    def _entries(self) -> Iterator[tuple[int, float]]:
        for entry, until in enumerate(self._moments[:_ENDED].tolist()):
            if until > 0:
                yield entry, until

    def _name(self, entry: int) -> str:
        at = _NAMES_AT + entry * _NAME
        raw = self._memory[at : at + _NAME]
        return raw[: raw.index(0)].decode("utf-8", "replace")
