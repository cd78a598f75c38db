"""Carry out what was decided, piece by piece, no faster than is wanted, until somebody says stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qd.cli.progress import deferred_interrupt, progress
from qd.cli.selection import PIECE

if TYPE_CHECKING:
    from qd.cli.guard import Guard
    from qd.protocol.state import TaskState

Act = Callable[[str, "TaskState", list[str]], int]
"""Acts on tasks of one queue and state, and returns on how many."""

Places = Mapping[tuple[str, "TaskState"], list[str]]

_NAP = 0.1


@dataclass(slots=True)
class Carried:
    """How far it got: `done` of the `tried` tasks; `stopped` is why not further, or ""."""

    tried: int = 0
    done: int = 0
    stopped: str = ""


def carry_out(
    places: Places, rate: float | None, label: str, act: Act, guard: Guard | None = None
) -> Carried:
    """
    Act on all tasks in pieces; each piece is done or not, also when the user interrupts.

    With a guard, its canaries come first, and it may stop what follows.
    """
    # Ten steps a second, so that a slow rate is even and a fast one takes few round trips.
    piece = PIECE if rate is None else max(1, min(PIECE, int(rate / 10)))
    canaries = 0 if guard is None else guard.canary
    carried = Carried()
    due = time.monotonic()
    with progress(label, sum(map(len, places.values()))) as advance, deferred_interrupt() as asked:
        for queue, state, some in _cut(places, piece, canaries):
            while (early := due - time.monotonic()) > 0 and not asked():
                time.sleep(min(early, _NAP))
            if asked():
                carried.stopped = "interrupted"
                break
            carried.done += act(queue, state, some)
            carried.tried += len(some)
            advance(len(some))
            if rate is not None:
                due = max(due, time.monotonic() - 1) + len(some) / rate
            if guard is not None:
                carried.stopped = _watch(guard, carried.tried, canaries, asked)
                if carried.stopped:
                    break
    return carried


def _watch(guard: Guard, tried: int, canaries: int, asked: Callable[[], bool]) -> str:
    if tried < canaries:
        return ""
    return guard.after_canaries(asked) if tried == canaries else guard.after_piece()


def _cut(places: Places, piece: int, canaries: int) -> Iterator[tuple[str, TaskState, list[str]]]:
    """Yield pieces, one of which ends behind the last canary."""
    for (queue, state), ids in places.items():
        start = 0
        while start < len(ids):
            size = min(piece, canaries) if canaries > 0 else piece
            some = ids[start : start + size]
            yield queue, state, some
            start += len(some)
            canaries -= len(some)
