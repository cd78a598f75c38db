"""
What /healthz and /readyz say, and why. Pure: from what is known to a verdict.

Health asks whether a restart would help: it does not while Redis is away, so health stays green
then. Readiness asks whether tasks are being run here now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from qd.inspector.views import QueueView
from qd.monitor.totals import Process

_WATCHDOG_MARGIN = 10.0
"""Seconds beyond the watchdog's limit in which the supervisor should have replaced a silent process."""

_FRESH = 5.0


class Verdict(Struct, frozen=True):
    """`ok`, the reasons if not, and details for people and programs."""

    reasons: tuple[str, ...]
    details: dict[str, Any]

    @property
    def ok(self) -> bool:
        return not self.reasons

    def as_dict(self) -> dict[str, Any]:
        return {
            "status": "ok" if self.ok else "failing",
            "reasons": list(self.reasons),
            **self.details,
        }


def health(processes: Sequence[Process], now: float, *, watchdog: float) -> Verdict:
    """Whether every process gives signs of life, or is at least replaced when it does not."""
    limit = watchdog + _WATCHDOG_MARGIN
    reasons = [
        f"{one.role} {one.pid} has been silent for {now - one.seen_at:.0f} s"
        for one in processes
        if now - one.seen_at > limit
    ]
    return Verdict(tuple(reasons), {"processes": [_process(one, now) for one in processes]})


def readiness(
    processes: Sequence[Process],
    now: float,
    *,
    needed: str,
    redis_error: str,
    queues: Sequence[QueueView],
    high_backlog: int,
) -> Verdict:
    """Whether Redis answers and a process of the role *needed* is at work."""
    reasons = []
    if redis_error:
        reasons.append(redis_error)
    at_work = [one for one in processes if one.role == needed and one.ready]
    if not any(now - one.seen_at <= _FRESH for one in at_work):
        reasons.append(f"no {needed} process is ready")
    details = {
        "processes": [_process(one, now) for one in processes],
        "queues": [_queue(view, high_backlog) for view in queues],
    }
    return Verdict(tuple(reasons), details)


def _process(one: Process, now: float) -> dict[str, Any]:
    shown = asdict(one)
    del shown["seen_at"]
    return shown | {"silent_seconds": round(max(now - one.seen_at, 0.0), 3)}


def _queue(view: QueueView, high_backlog: int) -> dict[str, Any]:
    backlog = view.pending + view.aggregating
    return {
        "name": view.name,
        "pending": view.pending,
        "active": view.active,
        "retry": view.retry,
        "archived": view.archived,
        "paused": view.paused,
        "latency_seconds": view.latency,
        "high_backlog": backlog >= high_backlog,
    }
