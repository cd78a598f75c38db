"""Timeout and deadline become one moment (asynq, processor.go)."""

from __future__ import annotations

_NEITHER = 30 * 60
"""Seconds, for a message that has neither; asynq's own clients never write one."""


def deadline_of(timeout: int, deadline: int, now: float) -> float:
    """
    Return the moment, in Unix seconds, by which a run that starts *now* must end.

    *timeout* is in seconds, *deadline* in Unix seconds; 0 means none. The earlier one counts.
    """
    if timeout and deadline:
        return min(now + timeout, float(deadline))
    if timeout:
        return now + timeout
    if deadline:
        return float(deadline)
    return now + _NEITHER
