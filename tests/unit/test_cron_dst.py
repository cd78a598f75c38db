"""
What a change of the clock does to schedules.

The times of `asynq` in the tables were printed by robfig/cron v3.0.1, except where a comment says
that it goes wrong there.
"""

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from qd.policy.cron import Dst, parse


def local_times(spec: str, zone: str, after: str, count: int, dst: Dst = "debian") -> list[str]:
    """Return the next times as the clock in the zone shows them, with its offset."""
    start = datetime.fromisoformat(after).replace(tzinfo=ZoneInfo(zone))
    schedule = parse(spec, timezone=zone, dst=dst)
    times = islice(schedule.between(start, datetime(2100, 1, 1, tzinfo=UTC)), count)
    return [time.astimezone(ZoneInfo(zone)).strftime("%m-%d %H:%M%z") for time in times]


GAPS = [
    # zone, spec, asked at (local), debian, asynq
    (
        "Europe/Berlin",
        "30 2 * * *",
        "2026-03-28 12:00",
        ["03-29 03:00+0200", "03-30 02:30+0200"],
        ["03-30 02:30+0200", "03-31 02:30+0200"],
    ),
    (
        # Two times in one jump are due together.
        "Europe/Berlin",
        "0,30 2 * * *",
        "2026-03-28 12:00",
        ["03-29 03:00+0200", "03-30 02:00+0200"],
        ["03-30 02:00+0200", "03-30 02:30+0200"],
    ),
    (
        # A skipped time and the time after the jump are due together too.
        "Europe/Berlin",
        "0 2,3 * * *",
        "2026-03-28 12:00",
        ["03-29 03:00+0200", "03-30 02:00+0200"],
        ["03-29 03:00+0200", "03-30 02:00+0200"],
    ),
    (
        "Europe/Berlin",
        "30 2,3 * * *",
        "2026-03-28 12:00",
        ["03-29 03:00+0200", "03-29 03:30+0200", "03-30 02:30+0200"],
        ["03-29 03:30+0200", "03-30 02:30+0200", "03-30 03:30+0200"],
    ),
    (
        # On another day nothing was skipped.
        "Europe/Berlin",
        "30 2 * * MON",
        "2026-03-28 12:00",
        ["03-30 02:30+0200", "04-06 02:30+0200"],
        ["03-30 02:30+0200", "04-06 02:30+0200"],
    ),
    (
        "Europe/Berlin",
        "30 2 29 3 *",
        "2026-03-01 00:00",
        ["03-29 03:00+0200", "03-29 02:30+0200"],
        ["03-29 02:30+0200", "03-29 02:30+0200"],
    ),
    (
        "America/New_York",
        "30 2 * * *",
        "2026-03-07 12:00",
        ["03-08 03:00-0400", "03-09 02:30-0400"],
        ["03-09 02:30-0400", "03-10 02:30-0400"],
    ),
    (
        # Half an hour.
        "Australia/Lord_Howe",
        "15 2 * * *",
        "2026-10-03 12:00",
        ["10-04 02:30+1100", "10-05 02:15+1100"],
        ["10-05 02:15+1100", "10-06 02:15+1100"],
    ),
    (
        # Two hours.
        "Antarctica/Troll",
        "30 1 * * *",
        "2026-03-28 12:00",
        ["03-29 03:00+0200", "03-30 01:30+0200"],
        ["03-30 01:30+0200", "03-31 01:30+0200"],
    ),
    (
        # Midnight does not exist.
        "America/Sao_Paulo",
        "0 0 * * *",
        "2018-11-03 12:00",
        ["11-04 01:00-0200", "11-05 00:00-0200"],
        ["11-05 00:00-0200", "11-06 00:00-0200"],
    ),
    (
        "Africa/Cairo",
        "@daily",
        "2026-04-23 12:00",
        ["04-24 01:00+0300", "04-25 00:00+0300"],
        ["04-25 00:00+0300", "04-26 00:00+0300"],
    ),
    (
        # The jump begins on one day and ends on the next.
        "Asia/Pyongyang",
        "45 23 * * *",
        "2018-05-03 12:00",
        ["05-03 23:45+0830", "05-05 00:00+0900", "05-05 23:45+0900"],
        ["05-03 23:45+0830", "05-05 23:45+0900", "05-06 23:45+0900"],
    ),
    (
        # Not summer time: the end of the Ramadan exception.
        "Africa/Casablanca",
        "30 2 * * *",
        "2026-03-21 12:00",
        ["03-22 03:00+0100", "03-23 02:30+0100"],
        ["03-23 02:30+0100", "03-24 02:30+0100"],
    ),
    (
        # A whole day does not exist. robfig/cron never returns here.
        "Pacific/Apia",
        "0 12 * * *",
        "2011-12-29 11:00",
        ["12-29 12:00-1000", "12-31 00:00+1400", "12-31 12:00+1400"],
        ["12-29 12:00-1000", "12-31 12:00+1400", "01-01 12:00+1400"],
    ),
]

FOLDS = [
    (
        "Europe/Berlin",
        "30 2 * * *",
        "2026-10-24 12:00",
        ["10-25 02:30+0200", "10-26 02:30+0100"],
        ["10-25 02:30+0200", "10-25 02:30+0100", "10-26 02:30+0100"],
    ),
    (
        "Europe/Berlin",
        "0,30 2,3 * * *",
        "2026-10-24 12:00",
        ["10-25 02:00+0200", "10-25 02:30+0200", "10-25 03:00+0100", "10-25 03:30+0100"],
        ["10-25 02:00+0200", "10-25 02:30+0200", "10-25 02:00+0100", "10-25 02:30+0100"],
    ),
    (
        "America/New_York",
        "30 1 * * *",
        "2026-10-31 12:00",
        ["11-01 01:30-0400", "11-02 01:30-0500"],
        ["11-01 01:30-0400", "11-01 01:30-0500", "11-02 01:30-0500"],
    ),
    (
        "America/New_York",
        "0 30 1 * * *",
        "2026-10-31 12:00",
        ["11-01 01:30-0400", "11-02 01:30-0500"],
        ["11-01 01:30-0400", "11-01 01:30-0500", "11-02 01:30-0500"],
    ),
    (
        "Australia/Lord_Howe",
        "45 1 * * *",
        "2026-04-04 12:00",
        ["04-05 01:45+1100", "04-06 01:45+1030"],
        ["04-05 01:45+1100", "04-05 01:45+1030", "04-06 01:45+1030"],
    ),
    (
        # The day before comes back for its last hour.
        "America/Sao_Paulo",
        "30 23 * * *",
        "2018-02-17 12:00",
        ["02-17 23:30-0200", "02-18 23:30-0300"],
        ["02-17 23:30-0200", "02-17 23:30-0300", "02-18 23:30-0300"],
    ),
    (
        "Africa/Casablanca",
        "30 2 * * *",
        "2026-02-14 12:00",
        ["02-15 02:30+0100", "02-16 02:30+0000"],
        ["02-15 02:30+0100", "02-15 02:30+0000", "02-16 02:30+0000"],
    ),
]


@pytest.mark.parametrize(("zone", "spec", "after", "debian", "asynq"), GAPS)
def test_a_fixed_time_that_the_clock_jumps_over_is_due_once_right_after_the_jump(
    zone: str, spec: str, after: str, debian: list[str], asynq: list[str]
) -> None:
    """In asynq it is not due that day."""
    assert local_times(spec, zone, after, len(debian)) == debian
    assert local_times(spec, zone, after, len(asynq), "asynq") == asynq


@pytest.mark.parametrize(("zone", "spec", "after", "debian", "asynq"), FOLDS)
def test_a_fixed_time_that_comes_twice_is_due_the_first_time(
    zone: str, spec: str, after: str, debian: list[str], asynq: list[str]
) -> None:
    """In asynq it is due twice."""
    assert local_times(spec, zone, after, len(debian)) == debian
    assert local_times(spec, zone, after, len(asynq), "asynq") == asynq


@pytest.mark.parametrize("dst", ["debian", "asynq"])
@pytest.mark.parametrize(
    ("spec", "after", "times"),
    [
        ("0 * * * *", "2026-03-29 00:30", ["01:00+0100", "03:00+0200", "04:00+0200"]),
        ("@hourly", "2026-10-25 01:30", ["02:00+0200", "02:00+0100", "03:00+0100"]),
        ("30 */2 * * *", "2026-10-25 01:30", ["02:30+0200", "02:30+0100", "04:30+0100"]),
        ("*/30 * * * *", "2026-03-29 01:15", ["01:30+0100", "03:00+0200", "03:30+0200"]),
        ("*/20 1 * * *", "2026-03-29 00:30", ["01:00+0100", "01:20+0100", "01:40+0100"]),
        ("*/30 2 * * *", "2026-10-25 01:30", ["02:00+0200", "02:30+0200", "02:00+0100"]),
    ],
)
def test_a_wildcard_spec_follows_the_clock_whatever_it_does(
    dst: Dst, spec: str, after: str, times: list[str]
) -> None:
    shown = local_times(spec, "Europe/Berlin", after, len(times), dst)

    assert [time.partition(" ")[2] for time in shown] == times


def test_a_wildcard_minute_in_a_skipped_hour_is_not_due_that_day() -> None:
    assert local_times("*/30 2 * * *", "Europe/Berlin", "2026-03-28 12:00", 1) == [
        "03-30 02:00+0200"
    ]


def test_asked_in_the_middle_of_a_repeated_hour_a_fixed_time_is_not_due_again() -> None:
    """A scheduler that restarts between the two passes must not fire the second time."""
    second_pass = datetime(2026, 10, 25, 2, 50, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))

    fixed = parse("55 2 * * *", timezone="Europe/Berlin")
    by_the_clock = parse("55 2 * * *", timezone="Europe/Berlin", dst="asynq")

    assert fixed.next(second_pass) == datetime(2026, 10, 26, 1, 55, tzinfo=UTC)
    assert by_the_clock.next(second_pass) == datetime(2026, 10, 25, 1, 55, tzinfo=UTC)


def test_a_skipped_time_is_due_at_the_jump_and_past_right_after_it() -> None:
    jump = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    schedule = parse("30 2 * * *", timezone="Europe/Berlin")

    assert schedule.next(jump - timedelta(seconds=1)) == jump
    assert schedule.next(jump) == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)


def test_every_takes_no_notice_of_the_clock() -> None:
    schedule = parse("TZ=Europe/Berlin @every 1h")
    start = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)

    assert list(schedule.between(start, datetime(2026, 3, 29, 3, 30, tzinfo=UTC))) == [
        datetime(2026, 3, 29, hour, 30, tzinfo=UTC) for hour in (1, 2, 3)
    ]
