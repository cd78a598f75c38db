"""
The wall clock of qd, in Unix seconds: the machine's, unless a test kit has it stand still.

Who asks for the present asks this module each time (`clock.now()`), so that all agree. `now` stands
still where it was stopped; `running` goes on from there, for what takes its time in any case, such as
the code of a handler. What only measures a distance asks `time.monotonic`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

now: Callable[[], float] = time.time
now_ns: Callable[[], int] = time.time_ns
running: Callable[[], float] = time.time

_standing = False


def stand_still(at: int) -> None:
    """Let it be *at* (Unix seconds) for all of this process, until told otherwise."""
    global now, now_ns, running, _standing
    began = time.monotonic()
    now, now_ns = lambda: float(at), lambda: at * 1_000_000_000
    running = lambda: at + time.monotonic() - began  # noqa: E731
    _standing = True


def go_on() -> None:
    """Go by the clock of the machine again."""
    global now, now_ns, running, _standing
    now, now_ns, running, _standing = time.time, time.time_ns, time.time, False


def stands_still() -> bool:
    """True if the time is not the machine's."""
    return _standing
