"""When a worker process asks to be replaced by a fresh one: after tasks, time, or by its size."""

from __future__ import annotations

import os
from pathlib import Path

from qd.config.model import RecycleSettings

_STATM = Path("/proc/self/statm")


class Recycling:
    """
    Decides for one process. *random* is a number in [0, 1): processes that start together do not
    all leave together.
    """

    def __init__(self, settings: RecycleSettings, *, random: float, now: float) -> None:
        self._max_tasks = int(settings.max_tasks * (1 - settings.max_tasks_jitter * random))
        self._max_memory = settings.max_memory
        self._max_age = settings.max_age
        self._started = now

    def reason(self, done: int, now: float) -> str:
        """Return why the process should be replaced, or "" if it should not. *now* as given before."""
        if self._max_tasks and done >= self._max_tasks:
            return f"{done} tasks done"
        if self._max_age and now - self._started >= self._max_age:
            return f"{now - self._started:.0f} s old"
        if self._max_memory and (memory := _resident_bytes()) > self._max_memory:
            return f"{memory >> 20} MiB large"
        return ""


def _resident_bytes() -> int:
    try:
        pages = int(_STATM.read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0  # no /proc here: then there is no limit by memory
    return pages * os.sysconf("SC_PAGE_SIZE")
