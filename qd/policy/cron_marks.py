"""
What changes of the clock do to a schedule: which local times it loses, shifts or meets twice.

For calendars that people read; when something is due says `policy.cron` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from qd.policy.cron import CronSchedule, Limited, Schedule
from qd.policy.cron_next import clock_changes, first_wall


class Mark(Struct, frozen=True):
    """
    A note about the moment `at`. `due` tells whether the schedule is due then.

    `kind` is "gap" (the clock jumps over a local time) or "double" (it shows one twice).
    """

    at: datetime
    kind: str
    due: bool
    note: str


def marks(schedule: Schedule, start: datetime, end: datetime) -> Iterator[Mark]:
    """
    Yield what the changes of the clock in (start, end] do to *schedule*, in order.

    A wildcard spec has none: it follows the time that passes.
    """
    inner = schedule.inner if isinstance(schedule, Limited) else schedule
    if not isinstance(inner, CronSchedule) or inner.fields.wildcard:
        return
    low, high = int(start.timestamp()), int(end.timestamp())
    # A time that is shown twice lies on both sides of its change.
    for change, before, after in clock_changes(inner.zone, low - 86_400, high + 86_400):
        found = _gap(inner, change, before, after) if after > before else ()
        doubles = _doubles(schedule, change, before - after) if before > after else ()
        for mark in (*found, *doubles):
            if start < mark.at <= end:
                yield mark


def _gap(schedule: CronSchedule, change: int, before: int, after: int) -> Iterator[Mark]:
    wall = first_wall(schedule.fields, change + before, change + after)
    if wall is None:
        return
    shown = f"{_clock(wall)} does not exist"
    at = datetime.fromtimestamp(change, UTC)
    if schedule.dst == "asynq":
        yield Mark(at, "gap", False, f"{shown}: not due")
    else:
        yield Mark(at, "gap", True, f"{shown}: due at {_clock(change + after)}")


def _doubles(schedule: Schedule, change: int, length: int) -> Iterator[Mark]:
    """Yield the due times at which the clock shows what it shows twice."""
    at = datetime.fromtimestamp(change, UTC)
    span = timedelta(seconds=length)
    one = timedelta(seconds=1)
    first = list(schedule.between(at - span - one, at - one))
    second = set(schedule.between(at - one, at + span - one))
    for due in first:
        twice = due + span in second
        note = "comes twice: first time" if twice else "comes twice: due the first time only"
        yield Mark(due, "double", True, note)
    for due in sorted(second):
        yield Mark(due, "double", True, "comes twice: second time")


def _clock(wall: int) -> str:
    text = datetime.fromtimestamp(wall, UTC).strftime("%H:%M:%S")
    return text.removesuffix(":00")
