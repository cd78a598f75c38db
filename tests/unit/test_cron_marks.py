"""What a calendar says about changes of the clock, and the first and last time of a schedule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from qd.errors import UsageError
from qd.policy.cron import parse
from qd.policy.cron_marks import marks


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "spec", "dst", "day", "expected"),
    [
        (
            "Europe/Berlin", "30 2 * * *", "debian", "2026-03-29",
            [("01:00", "gap", True, "02:30 does not exist: due at 03:00")],
        ),
        (
            "Europe/Berlin", "30 2 * * *", "asynq", "2026-03-29",
            [("01:00", "gap", False, "02:30 does not exist: not due")],
        ),
        (
            "Europe/Berlin", "30 2 * * *", "debian", "2026-10-25",
            [("00:30", "double", True, "comes twice: due the first time only")],
        ),
        (
            "Europe/Berlin", "30 2 * * *", "asynq", "2026-10-25",
            [
                ("00:30", "double", True, "comes twice: first time"),
                ("01:30", "double", True, "comes twice: second time"),
            ],
        ),
        ("Europe/Berlin", "*/30 * * * *", "debian", "2026-10-25", []),
        ("Europe/Berlin", "30 4 * * *", "debian", "2026-10-25", []),
        ("Europe/Berlin", "30 2 * * *", "debian", "2026-07-01", []),
        ("UTC", "30 2 * * *", "debian", "2026-10-25", []),
        (
            "Australia/Lord_Howe", "45 1 * * *", "asynq", "2026-04-04",
            [
                ("14:45", "double", True, "comes twice: first time"),
                ("15:15", "double", True, "comes twice: second time"),
            ],
        ),
    ],
)  # fmt: skip
def test_a_change_of_the_clock_is_marked_where_it_touches_a_schedule(
    zone: str, spec: str, dst: str, day: str, expected: list[tuple[str, str, bool, str]]
) -> None:
    schedule = parse(spec, timezone=zone, dst=dst)
    start = utc(day)
    found = list(marks(schedule, start, start + timedelta(days=1)))
    assert [(f"{one.at:%H:%M}", one.kind, one.due, one.note) for one in found] == expected
    for one in found:
        assert (schedule.next(one.at - timedelta(seconds=1)) == one.at) is one.due


def test_every_has_no_marks() -> None:
    assert list(marks(parse("@every 1h"), utc("2026-01-01"), utc("2026-12-31"))) == []


def test_nothing_is_due_before_the_start_or_after_the_end() -> None:
    start, end = utc("2026-01-02 12:00"), utc("2026-01-05 12:00")
    schedule = parse("0 12 * * *", start=start, end=end)
    assert list(schedule.between(utc("2025-01-01"), utc("2027-01-01"))) == [
        start + timedelta(days=day) for day in range(4)
    ]
    assert schedule.next(end) is None
    assert parse("0 12 * * *", start=start).next(utc("2026-02-01")) == utc("2026-02-01 12:00")
    assert parse("0 12 * * *", end=end).next(utc("2025-01-01")) == utc("2025-01-01 12:00")
    with pytest.raises(UsageError, match="no time zone"):
        schedule.next(datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_limited_schedule_is_marked_only_within_its_limits() -> None:
    change = utc("2026-10-25")
    limited = parse("30 2 * * *", timezone="Europe/Berlin", end=change)
    assert list(marks(limited, utc("2026-10-20"), utc("2026-10-30"))) == []
