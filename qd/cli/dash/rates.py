"""How fast queues are worked off: differences of successive looks. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from qd.inspector.views import QueueView

_KEPT = 240
_SPAN = 10.0
"""Seconds over which a rate is taken: shorter ones jump, longer ones lag behind."""

_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Rate:
    """Per second. `drain`: seconds until nothing waits; None if that does not come nearer."""

    processed: float = 0.0
    failed: float = 0.0
    drain: float | None = None


@dataclass(frozen=True)
class _Look:
    at: float
    processed: int
    failed: int
    waiting: int


class Rates:
    """Remembers the last looks at each queue, and at all of them together (name "")."""

    def __init__(self) -> None:
        self._looks: dict[str, deque[_Look]] = {}

    def add(self, queues: Sequence[QueueView], now: float) -> None:
        """Take in one look; *now* in seconds of a monotonic clock."""
        totals = [0, 0, 0]
        for view in queues:
            counts = (view.processed_total, view.failed_total, view.pending + view.active)
            self._add(view.name, now, counts)
            totals = [total + count for total, count in zip(totals, counts, strict=True)]
        self._add("", now, (totals[0], totals[1], totals[2]))

    def of(self, queue: str = "") -> Rate:
        """Return the present rates of a queue, or of all."""
        looks = self._looks.get(queue)
        if looks is None or len(looks) < 2:
            return Rate()
        last = looks[-1]
        first = next(look for look in looks if last.at - look.at <= _SPAN or look is looks[-2])
        seconds = last.at - first.at
        processed = max(last.processed - first.processed, 0) / seconds
        failed = max(last.failed - first.failed, 0) / seconds
        shrinks = (first.waiting - last.waiting) / seconds
        drain = last.waiting / shrinks if shrinks > 0 else None
        return Rate(processed, failed, drain if last.waiting else 0.0)

    def plot(self, width: int, *, failed: bool = False) -> str:
        """Return the rate of all queues over the last looks as a line of bars, the latest last."""
        looks = list(self._looks.get("", ()))[-width - 1 :]
        steps = [
            max((b.failed - a.failed) if failed else (b.processed - a.processed), 0) / (b.at - a.at)
            for a, b in pairwise(looks)
        ]
        highest = max(steps, default=0.0) or 1.0
        return "".join(_BARS[round(step / highest * (len(_BARS) - 1))] for step in steps)

    def _add(self, name: str, now: float, counts: tuple[int, int, int]) -> None:
        looks = self._looks.setdefault(name, deque(maxlen=_KEPT))
        if not looks or now > looks[-1].at:
            looks.append(_Look(now, *counts))
