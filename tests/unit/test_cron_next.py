"""A schedule tells its times: in order, none left out, and none made up. (Clock changes: dst.)"""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qd.errors import UsageError
from qd.policy.cron import parse


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("spec", "after", "due"),
    [
        ("* * * * *", "2026-01-01 12:00:00", "2026-01-01 12:01:00"),
        ("* * * * *", "2026-01-01 11:59:59.999999", "2026-01-01 12:00:00"),
        ("* * * * *", "2026-01-01 12:00:00.000001", "2026-01-01 12:01:00"),
        ("*/15 * * * *", "2026-01-01 12:45:00", "2026-01-01 13:00:00"),
        ("0 9-17 * * *", "2026-01-01 17:00:00", "2026-01-02 09:00:00"),
        ("59 23 31 12 *", "2026-12-31 23:59:00", "2027-12-31 23:59:00"),
        ("0 0 31 * *", "2026-01-31 00:00:00", "2026-03-31 00:00:00"),
        ("0 0 29 2 *", "2026-01-01 00:00:00", "2028-02-29 00:00:00"),
        ("0 0 * * MON", "2026-01-01 00:00:00", "2026-01-05 00:00:00"),
        ("0 0 * * 0", "2026-01-01 00:00:00", "2026-01-04 00:00:00"),
        ("0 0 13 * 5", "2026-01-01 00:00:00", "2026-01-02 00:00:00"),
        ("0 0 13 * 5", "2026-01-09 00:00:00", "2026-01-13 00:00:00"),
        ("0 0 ? * 5", "2026-01-02 00:00:00", "2026-01-09 00:00:00"),
        ("0 0 */10 * 5", "2026-01-01 00:00:00", "2026-01-02 00:00:00"),
        ("0 0 13,* * 5", "2026-01-02 00:00:00", "2026-01-09 00:00:00"),
        ("0 0 , * 5", "2026-01-02 00:00:00", "2026-01-09 00:00:00"),
        ("30 * * * * *", "2026-01-01 12:00:30", "2026-01-01 12:01:30"),
        ("*/20 59 23 * * *", "2026-01-01 23:59:40", "2026-01-02 23:59:00"),
        ("@hourly", "2026-01-01 12:00:00", "2026-01-01 13:00:00"),
        ("@daily", "2026-01-01 12:00:00", "2026-01-02 00:00:00"),
        ("@weekly", "2026-01-01 12:00:00", "2026-01-04 00:00:00"),
        ("@monthly", "2026-01-01 00:00:00", "2026-02-01 00:00:00"),
        ("@yearly", "2026-01-01 00:00:00", "2027-01-01 00:00:00"),
        ("TZ=Asia/Kathmandu 0 0 * * *", "2026-01-01 00:00:00", "2026-01-01 18:15:00"),
        ("TZ=America/Los_Angeles 0 0 1 1 *", "2026-01-01 00:00:00", "2026-01-01 08:00:00"),
        ("TZ=Pacific/Kiritimati 0 0 1 1 *", "2026-01-01 00:00:00", "2026-12-31 10:00:00"),
        ("* * * * *", "1969-12-31 23:58:30", "1969-12-31 23:59:00"),
    ],
)
def test_the_next_time_is_the_first_that_matches_after_the_moment(
    spec: str, after: str, due: str
) -> None:
    assert parse(spec).next(utc(after)) == utc(due)


def test_the_next_time_is_in_utc_whatever_zone_the_question_was_in() -> None:
    noon_in_tokyo = datetime(2026, 1, 1, 12, tzinfo=ZoneInfo("Asia/Tokyo"))

    due = parse("0 * * * *", timezone="Europe/Berlin").next(noon_in_tokyo)

    assert due == utc("2026-01-01 04:00:00")
    assert due is not None
    assert due.tzinfo is UTC


@pytest.mark.parametrize(
    "spec", ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", ", * * * *", "* , * * *", ", * * * * *"]
)
def test_a_spec_that_no_day_can_match_is_never_due(spec: str) -> None:
    assert parse(spec).next(utc("2026-01-01")) is None


def test_the_search_ends_with_the_fifth_year() -> None:
    leap_day = parse("0 0 29 2 *")

    assert leap_day.next(utc("2096-02-29")) is None
    assert leap_day.next(utc("2098-12-31")) is None
    assert leap_day.next(utc("2099-01-01")) == utc("2104-02-29")


@pytest.mark.parametrize("spec", ["* * * * *", "0 0 30 2 *", "TZ=Pacific/Apia 0 0 * * *"])
def test_past_the_calendar_of_python_nothing_is_due(spec: str) -> None:
    for year in (9998, 9999):
        assert parse(spec).next(datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)) is None
    assert parse("@every 1000h").next(datetime.max.replace(tzinfo=UTC)) is None


@pytest.mark.parametrize("spec", ["* * * * *", "@every 1h"])
def test_a_moment_without_a_zone_is_refused(spec: str) -> None:
    with pytest.raises(UsageError, match="time zone"):
        parse(spec).next(datetime(2026, 1, 1))  # noqa: DTZ001


def test_between_leaves_out_its_start_and_takes_in_its_end() -> None:
    hourly = parse("@hourly")

    times = list(hourly.between(utc("2026-01-01 12:00"), utc("2026-01-01 15:00")))

    assert times == [utc(f"2026-01-01 {hour}:00") for hour in (13, 14, 15)]
    assert list(hourly.between(utc("2026-01-01 15:00"), utc("2026-01-01 12:00"))) == []
    assert list(parse("0 0 30 2 *").between(utc("2026-01-01"), utc("2027-01-01"))) == []


def test_a_search_up_to_the_end_of_the_calendar_of_python_ends() -> None:
    assert parse("0 0 30 2 *").next(utc("9995-01-01")) is None
    assert parse("0 0 1 1 *").next(utc("9997-06-01")) is None


def test_every_without_an_anchor_counts_from_the_second_of_the_question() -> None:
    every = parse("@every 90s")

    assert every.next(utc("2026-01-01 12:00:07.9")) == utc("2026-01-01 12:01:37")
    assert every.next(utc("2026-01-01 12:00:08")) == utc("2026-01-01 12:01:38")


def test_every_with_an_anchor_is_due_at_multiples_since_the_epoch() -> None:
    every = parse("@every 90s", anchored=True)

    assert every.next(utc("1970-01-01 00:00:00")) == utc("1970-01-01 00:01:30")
    assert every.next(utc("1970-01-01 00:01:29.999999")) == utc("1970-01-01 00:01:30")
    assert every.next(utc("1970-01-01 00:01:30")) == utc("1970-01-01 00:03:00")
    assert every.next(utc("1969-12-31 23:59:59")) == utc("1970-01-01 00:00:00")


MOMENTS = st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001
    lambda moment: moment.replace(tzinfo=UTC)
)


@given(st.integers(1, 10_000_000), MOMENTS, st.integers(-12, 14))
def test_all_who_ask_agree_on_anchored_times(period: int, moment: datetime, offset: int) -> None:
    every = parse(f"@every {period}s", anchored=True)

    due = every.next(moment.astimezone(timezone(timedelta(hours=offset))))

    assert due is not None
    assert due.timestamp() % period == 0
    assert timedelta(0) < due - moment <= timedelta(seconds=period)


SPECS = st.sampled_from(
    ["*/7 * * * *", "15 3 * * *", "0 9 1-7 * MON", "@weekly", "*/13 30 */3 * * *", "30 2 * 3,10 0"]
)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo"])


@given(SPECS, ZONES, MOMENTS, st.sampled_from(["debian", "asynq"]), st.data())
def test_the_answer_is_the_same_from_wherever_in_between_one_asks(
    spec: str, zone: str, moment: datetime, dst: str, data: st.DataObject
) -> None:
    """Many schedulers that ask at different moments fire at the same ones."""
    schedule = parse(spec, timezone=zone, dst=dst)  # type: ignore[arg-type]
    due = schedule.next(moment)
    assert due is not None
    assert due > moment

    last_chance = due - timedelta(microseconds=1)
    asked = data.draw(st.datetimes(moment.replace(tzinfo=None), last_chance.replace(tzinfo=None)))

    assert schedule.next(asked.replace(tzinfo=UTC)) == due


@given(SPECS, ZONES, MOMENTS)
def test_times_come_in_order_and_once(spec: str, zone: str, moment: datetime) -> None:
    times = list(parse(spec, timezone=zone).between(moment, moment + timedelta(days=14)))

    assert all(first < second for first, second in pairwise(times))
