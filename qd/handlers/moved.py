"""What a hook for transitions is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TaskMoved:
    """
    A worker process has moved a task `before` one state `after` another, and Redis has confirmed it.

    `after` is None if the task is gone: it has succeeded, unless `reason` is "revoked". Else `reason`
    says why it is retried or dead, or what it waits for. `attempt` is the run that began or ended,
    from 1. `next_at` (Unix seconds) is when it is due again, if it is.
    """

    task_id: str
    type: str
    queue: str
    before: str
    after: str | None
    attempt: int
    reason: str
    next_at: float | None
    headers: Mapping[str, str]


OnTransition = Callable[[TaskMoved], None]
