"""
When schedules are due, found by watching a clock minute by minute: slow, and simple enough to trust.

Nothing of qd is used here. The days around each change of a clock are part of every test run; `make
clock` watches every minute of eight zones through twenty years.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)

Due = Callable[[datetime], bool]

# Each spec twice: as text, and as what it means.
SPECS: dict[str, Due] = {
    "30 2 * * *": lambda t: (t.hour, t.minute) == (2, 30),
    "15,45 0-3 * * *": lambda t: t.minute in (15, 45) and t.hour <= 3,
    "0 0 * * *": lambda t: (t.hour, t.minute) == (0, 0),
    "45 23 * * 6": lambda t: (t.hour, t.minute, t.isoweekday()) == (23, 45, 6),
    "59 1 13 * 0": lambda t: (t.hour, t.minute) == (1, 59) and (t.day == 13 or t.isoweekday() == 7),
    "10 2 */2 3,10 *": lambda t: (
        (t.hour, t.minute) == (2, 10) and t.month in (3, 10) and t.day % 2 == 1
    ),
    "*/20 1-2 * * *": lambda t: t.minute % 20 == 0 and t.hour in (1, 2),
    "7 */3 * * ?": lambda t: t.minute == 7 and t.hour % 3 == 0,
    "* 2 1-7 * *": lambda t: t.hour == 2 and t.day <= 7,
}
WILDCARDS = {spec for spec in SPECS if spec.split()[0][0] == "*" or spec.split()[1][0] == "*"}


def watch(zone: str, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield each minute in (start, end], in UTC and as the clock in the zone shows it."""
    tz = ZoneInfo(zone)
    moment = start
    while moment < end:
        moment += MINUTE
        yield moment, moment.astimezone(tz).replace(tzinfo=None)


def by_the_clock(due: Due, minutes: list[tuple[datetime, datetime]]) -> list[datetime]:
    return [moment for moment, shown in minutes if due(shown)]


def debian_minutes(minutes: list[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """
    The minutes as its daemon sees them for fixed-time jobs: a virtual clock visits every one once.

    When the clock jumps ahead, the virtual one runs after it, several minutes in one; when the clock
    goes back, the virtual one waits. (Its daemon does so for changes of up to three hours.)
    """
    seen = []
    virtual = minutes[0][1] - MINUTE
    for moment, shown in minutes:
        while virtual < shown:
            virtual += MINUTE
            seen.append((moment, virtual))
    return seen


ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour
    "America/Sao_Paulo",  # at midnight, and given up in 2019
    "Africa/Cairo",  # given up in 2014, and again since 2023
    "Africa/Casablanca",  # turned back for Ramadan
    "Asia/Kathmandu",  # none, at an odd offset
    "Pacific/Apia",  # lost a whole day in 2011
)
FIRST_YEAR, YEARS = 2007, 20


def year(number: int) -> tuple[datetime, datetime]:
    """One of the twenty years, from noon to noon: clocks that go back at midnight have a past then."""
    return (
        datetime(FIRST_YEAR + number, 1, 1, 12, tzinfo=UTC),
        datetime(FIRST_YEAR + number + 1, 1, 1, 12, tzinfo=UTC),
    )


def changes(zone: str) -> list[datetime]:
    """The moments in the twenty years, to the minute, at which the clock of a zone changes."""
    tz = ZoneInfo(zone)
    days = [datetime(FIRST_YEAR, 1, 1, tzinfo=UTC) + timedelta(n) for n in range(YEARS * 366)]
    return [
        next(
            minute
            for minute in (before + MINUTE * n for n in range(1, 1441))
            if minute.astimezone(tz).utcoffset() != before.astimezone(tz).utcoffset()
        )
        for before, after in pairwise(days)
        if before.astimezone(tz).utcoffset() != after.astimezone(tz).utcoffset()
    ]


def expected(
    minutes: list[tuple[datetime, datetime]],
) -> dict[tuple[str, str], list[datetime]]:
    """When each spec is due within these minutes, for both policies of clock changes."""
    found = {}
    virtual = debian_minutes(minutes)
    for spec, due in SPECS.items():
        clock = by_the_clock(due, minutes)
        found[spec, "asynq"] = clock
        found[spec, "debian"] = (
            # However many of the minutes that it visits in one are due: the job is run once.
            clock if spec in WILDCARDS else list(dict.fromkeys(by_the_clock(due, virtual)))
        )
    return found
