"""
Which of a host's worker processes looks first when a task comes.

Redis tells all that listen, and one of them gets the task; the others would have asked for nothing, just
when it needs the cores. So each notes in memory that all share whether it has slots free, and looks at once
if nobody comes before it: who runs nothing before who runs something, then the lower number. All others
look a moment later whether something is left, so a process that is stuck delays a task by no more than that.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import weakref

_PROCESSES = 256
_DEAF, _BUSY, _IDLE = 0, 1, 2


class Listeners:
    """Made before the fork, one for all processes that serve the same queues."""

    def __init__(self) -> None:
        self._fd = os.memfd_create("qd-listeners")
        # When nobody has it any more: a reload makes a new one.
        weakref.finalize(self, os.close, self._fd)
        os.ftruncate(self._fd, _PROCESSES)
        self.memory = mmap.mmap(self._fd, _PROCESSES)

    def join(self) -> Listener | None:
        """Called after the fork: return a place for this process; None if 256 processes have one each."""
        for number in range(_PROCESSES):
            try:
                # Let go of by the kernel, however this process ends.
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
            except OSError:
                continue
            return Listener(self, number)
        return None


class Listener:
    """The place of one process."""

    def __init__(self, listeners: Listeners, number: int) -> None:
        # Kept, for the lock on the place goes with its descriptor.
        self._listeners = listeners
        self._memory = listeners.memory
        self._number = number
        self._memory[number] = _DEAF

    def note(self, free: int, slots: int) -> None:
        """Tell the others that this process waits for tasks for *free* of its *slots*."""
        self._memory[self._number] = _DEAF if free <= 0 else _IDLE if free == slots else _BUSY

    @property
    def is_first(self) -> bool:
        """True if no other process comes before this one, or if this one has no use for a task and will not ask."""
        memory, number = self._memory, self._number
        state = memory[number]
        if state == _DEAF:
            return True
        if state == _IDLE:
            return memory.find(b"\2", 0, number) < 0
        return memory.find(b"\2") < 0 and memory.find(b"\1", 0, number) < 0
