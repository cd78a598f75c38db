"""
Schedules agree with others who work in another way: a clock that is watched minute by minute, and
croniter.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile

import pytest
from croniter import CroniterBadDateError, croniter
from hypothesis import assume, given
from hypothesis import strategies as st

from qd.policy.cron import parse
from qd.policy.cron_spec import parse_fields
from tests.support.clock_oracle import expected, watch


@pytest.mark.parametrize(
    ("zone", "year"), [("Australia/Lord_Howe", 2026), ("America/Sao_Paulo", 2018)]
)
def test_a_year_of_times_is_what_watching_the_clock_gives(zone: str, year: int) -> None:
    # From noon to noon, because a clock that goes back at the first midnight has no past here.
    start = datetime(year, 1, 1, 12, tzinfo=UTC)
    end = datetime(year + 1, 1, 1, 12, tzinfo=UTC)
    minutes = list(watch(zone, start, end))
    assert len({moment - shown.replace(tzinfo=UTC) for moment, shown in minutes}) == 2

    for (spec, dst), due in expected(minutes).items():
        assert list(parse(spec, timezone=zone, dst=dst).between(start, end)) == due, (spec, dst)


@pytest.mark.parametrize(
    ("zone", "change"),
    [
        ("America/New_York", "2007-03-11"),
        ("America/New_York", "2007-11-04"),
        ("America/Santiago", "2024-09-08"),
        ("America/Havana", "2025-11-02"),
        ("America/Caracas", "2007-12-09"),
        ("America/Argentina/Tucuman", "2004-06-13"),
        ("Africa/Cairo", "2014-07-31"),
        ("Africa/Casablanca", "2026-02-15"),
        ("Africa/Casablanca", "2026-03-22"),
        ("Antarctica/Troll", "2026-10-25"),
        ("Antarctica/Casey", "2010-03-05"),
        ("Asia/Hebron", "2011-08-30"),
        ("Asia/Tehran", "2022-03-22"),
        ("Asia/Kathmandu", "1986-01-01"),
        ("Asia/Pyongyang", "2015-08-15"),
        ("Europe/Berlin", "2026-03-29"),
        ("Europe/Berlin", "2026-10-25"),
        ("Europe/Lisbon", "1996-10-27"),
        ("Europe/Moscow", "2014-10-26"),
        ("Pacific/Apia", "2011-12-30"),
        ("Pacific/Kwajalein", "1993-08-21"),
    ],
)
def test_a_week_around_a_change_is_what_watching_the_clock_gives(zone: str, change: str) -> None:
    middle = datetime.fromisoformat(change).replace(tzinfo=UTC)
    start, end = middle - timedelta(days=4), middle + timedelta(days=4)
    minutes = list(watch(zone, start, end))
    assert len({moment - shown.replace(tzinfo=UTC) for moment, shown in minutes}) > 1

    for (spec, dst), due in expected(minutes).items():
        assert list(parse(spec, timezone=zone, dst=dst).between(start, end)) == due, (spec, dst)


def by_croniter(spec: str, start: datetime) -> Iterator[datetime]:
    times = croniter(spec, start, ret_type=datetime, max_years_between_matches=5)
    with suppress(CroniterBadDateError):
        while True:
            yield times.get_next()


EVERY_DAY = parse_fields("* * * * *").days
EVERY_WEEKDAY = parse_fields("* * * * *").weekdays


def field(low: int, high: int) -> st.SearchStrategy[str]:
    """Fields that croniter reads in the same way: no `?`, no range of all or one, no star in a list."""
    number = st.integers(low, high)
    step = st.integers(2, high)
    span = (
        st.tuples(number, number)
        .filter(lambda ends: ends[0] != ends[1] and set(ends) != {low, high})
        .map(sorted)
    )
    item = st.one_of(
        number.map(str),
        st.builds("{0[0]}-{0[1]}".format, span),
        st.builds("{0[0]}-{0[1]}/{1}".format, span, step),
        st.builds("{}/{}".format, st.integers(low + 1, high - 1), step),
    )
    return st.one_of(
        st.just("*"),
        st.builds("*/{}".format, step),
        st.lists(item, min_size=1, max_size=3).map(",".join),
    )


@given(
    st.tuples(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6)).map(" ".join),
    st.integers(946_684_800, 2_840_140_800),  # 2000 to 2060
)
def test_in_utc_croniter_finds_the_same_times(spec: str, timestamp: int) -> None:
    # croniter takes a list of all days, such as "0,1-6", for a star.
    fields, (_, _, day, _, weekday) = parse_fields(spec), spec.split()
    assume(day == "*" or fields.days != EVERY_DAY)
    assume(weekday == "*" or fields.weekdays != EVERY_WEEKDAY)
    start = datetime.fromtimestamp(timestamp, UTC)
    horizon = start + timedelta(days=4 * 365)  # both search longer, but not equally long

    expected = takewhile(lambda time: time <= horizon, by_croniter(spec, start))

    assert list(islice(parse(spec).between(start, horizon), 5)) == list(islice(expected, 5))
