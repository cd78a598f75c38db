"""
Which tasks a child is running right now, in memory it shares with its parent.

Written before a handler starts and after it has ended, so that it tells, whatever kills the child,
which tasks saw its death. Costs no system call.
"""

from __future__ import annotations

import mmap

_ENTRY = 128
_ENTRIES = 512


class RunningTable:
    """
    Made before the fork; the child writes, the parent reads once the child is dead.

    Holds up to 512 ids of up to 127 bytes; what does not fit is not noted, which only means that a
    death is not counted for it.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _ENTRY * _ENTRIES)
        self._free = list(range(0, _ENTRY * _ENTRIES, _ENTRY))[::-1]
        self._taken: dict[str, int] = {}

    def start(self, task_id: str) -> None:
        raw = task_id.encode() + b"\0"
        if not self._free or len(raw) > _ENTRY:
            return
        at = self._taken[task_id] = self._free.pop()
        self._memory[at : at + len(raw)] = raw

    def end(self, task_id: str) -> None:
        at = self._taken.pop(task_id, None)
        if at is not None:
            self._memory[at] = 0
            self._free.append(at)

    def read(self) -> list[str]:
        """Return the ids of what is running, or was when the child died."""
        entries = (self._memory[at : at + _ENTRY] for at in range(0, _ENTRY * _ENTRIES, _ENTRY))
        return [entry[: entry.index(0)].decode("utf-8", "replace") for entry in entries if entry[0]]

    def close(self) -> None:
        self._memory.close()
