"""Tells a machine that stood still from a fault of the program: watches how evenly the clocks go."""

from __future__ import annotations

import threading
import time

_TICK = 0.02
"""Seconds between two looks at the clocks."""


class Pauses:
    """
    Sleeps again and again, and keeps by how much it came back too late.

    By CLOCK_MONOTONIC, which shows a machine that was too busy for this process, and by the time of day,
    which also shows one that was suspended as a whole. Begins when it is made; `stop` ends it.
    """

    def __init__(self) -> None:
        self._longest = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pauses", daemon=True)
        self._thread.start()

    def longest(self) -> float:
        """Return the longest pause since this was asked last, in seconds."""
        longest, self._longest = self._longest, 0.0
        return longest

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        before = time.monotonic(), time.time()
        while not self._stopping.wait(_TICK):
            now = time.monotonic(), time.time()
            late = max(after - then for after, then in zip(now, before, strict=True)) - _TICK
            self._longest = max(self._longest, late)
            before = now
