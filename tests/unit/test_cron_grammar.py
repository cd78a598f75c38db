"""The grammar of specs is that of asynq, and a spec that cannot be read is refused with a reason."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qd.errors import CronError, ExitCode
from qd.policy.cron import CronSchedule, Every, parse
from qd.policy.cron_spec import parse_fields

START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)  # a Thursday


def members(bits: int) -> set[int]:
    return {number for number in range(bits.bit_length()) if bits >> number & 1}


@pytest.mark.parametrize(
    ("minute", "expected"),
    [
        ("*", range(60)),
        ("?", range(60)),
        ("5", {5}),
        ("05", {5}),
        ("+5", {5}),
        ("5,7,5", {5, 7}),
        (",5,,7,", {5, 7}),
        (",", ()),
        ("5-8", range(5, 9)),
        ("5-5", {5}),
        ("*/15", {0, 15, 30, 45}),
        ("?/15", {0, 15, 30, 45}),
        ("*/100", {0}),
        ("7/20", {7, 27, 47}),
        ("50/1", range(50, 60)),
        ("10-20/5", {10, 15, 20}),
        ("10-19/5", {10, 15}),
        ("*-7", range(60)),
        ("*-x/30", {0, 30}),
        ("*-1-2", range(60)),
        ("1,*/30,10-12", {0, 1, 10, 11, 12, 30}),
    ],
)
def test_an_item_stands_for_these_numbers(minute: str, expected: set[int]) -> None:
    assert members(parse_fields(f"{minute} * * * *").minutes) == set(expected)


def test_each_field_has_its_own_range() -> None:
    fields = parse_fields("*/1 * * * * *")

    assert members(fields.seconds) == set(range(60))
    assert members(fields.minutes) == set(range(60))
    assert members(fields.hours) == set(range(24))
    assert members(fields.days) == set(range(1, 32))
    assert members(fields.months) == set(range(1, 13))
    assert members(fields.weekdays) == set(range(7))


def test_a_step_counts_from_the_lowest_number_of_its_field() -> None:
    fields = parse_fields("* * */10 */5 *")

    assert members(fields.days) == {1, 11, 21, 31}
    assert members(fields.months) == {1, 6, 11}


def test_names_of_months_and_weekdays_are_read_in_any_case() -> None:
    fields = parse_fields("0 0 * JAN,mar-May,Dec SUN,mon-WED/2,sAt")

    assert members(fields.months) == {1, 3, 4, 5, 12}
    assert members(fields.weekdays) == {0, 1, 3, 6}


def test_five_fields_are_due_at_second_0_and_six_begin_with_the_second() -> None:
    assert members(parse_fields("* * * * *").seconds) == {0}
    assert members(parse_fields("*/20 1 2 3 4 5").seconds) == {0, 20, 40}
    assert members(parse_fields("*/20 1 2 3 4 5").minutes) == {1}


@pytest.mark.parametrize(
    ("days", "both"),
    [
        ("* 1", True),
        ("13 *", True),
        ("? 5", True),
        ("13 ?", True),
        ("*/1 5", True),
        ("13,* 5", True),
        ("*-9 5", True),
        ("13 5", False),
        ("*/2 5", False),
        ("13 */2", False),
        ("1-31 5", False),
        ("1/1 5", False),
        (", 5", False),
    ],
)
def test_both_day_fields_must_match_if_one_is_a_star_and_either_otherwise(
    days: str, both: bool
) -> None:
    day, weekday = days.split()

    assert parse_fields(f"0 0 {day} * {weekday}").both_days is both


@pytest.mark.parametrize(
    ("spec", "wildcard"),
    [
        ("* * * * *", True),
        ("0 * * * *", True),
        ("0 */2 * * *", True),
        ("*/5 2 * * *", True),
        ("0 ? * * *", True),
        ("* 30 2 * * *", True),
        ("30 2 * * *", False),
        ("0 0-23 * * *", False),
        ("0 0/1 * * *", False),
        ("5,* 2 * * *", False),
        ("0 30 2 * * *", False),
    ],
)
def test_a_time_field_that_begins_with_a_star_makes_a_wildcard_spec(
    spec: str, wildcard: bool
) -> None:
    assert parse_fields(spec).wildcard is wildcard


@pytest.mark.parametrize(
    ("descriptor", "fields"),
    [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
    ],
)
def test_a_descriptor_is_short_for_fields(descriptor: str, fields: str) -> None:
    schedule = parse(descriptor)

    assert isinstance(schedule, CronSchedule)
    assert schedule.fields == parse_fields(fields)
    assert schedule.spec == descriptor


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("90s", 90),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("1s", 1),
        ("999ms", 1),
        ("0", 1),
        ("-5m", 1),
        ("1.999s", 1),
        ("2m0.5s", 120),
        ("720h", 2_592_000),
    ],
)
def test_every_takes_a_go_duration_in_whole_seconds_of_at_least_one(text: str, period: int) -> None:
    schedule = parse(f"@every {text}")

    assert isinstance(schedule, Every)
    assert schedule.period == period


@pytest.mark.parametrize("prefix", ["TZ=", "CRON_TZ="])
@pytest.mark.parametrize("rest", ["0 9 * * *", " 0 9 * * * ", "@daily ", "@every 1h "])
def test_a_time_zone_prefix_goes_before_the_zone_that_was_passed(prefix: str, rest: str) -> None:
    spec = f"{prefix}Asia/Tokyo {rest}"

    schedule = parse(spec, timezone="Europe/Berlin")

    assert schedule.timezone == "Asia/Tokyo"
    assert schedule.spec == spec


def test_without_a_prefix_the_zone_that_was_passed_counts_and_else_utc() -> None:
    at_nine_in_berlin = parse("0 9 * * *", timezone="Europe/Berlin")

    assert at_nine_in_berlin.timezone == "Europe/Berlin"
    assert at_nine_in_berlin.next(START) == datetime(2026, 1, 2, 8, 0, tzinfo=UTC)
    assert parse("0 9 * * *").timezone == "UTC"
    assert parse("0 9 * * *").next(START) == datetime(2026, 1, 2, 9, 0, tzinfo=UTC)


def test_blanks_around_and_between_fields_do_not_matter() -> None:
    assert parse_fields("  0\t9  * * * ") == parse_fields("0 9 * * *")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("", "it is empty"),
        ("  ", "expected 5 fields"),
        ("* * * *", "found 4"),
        ("* * * * * * *", "or 6 with the second first, found 7"),
        ("60 * * * *", "field 1 (minute): 60 is above the maximum 59"),
        ("* 25 * * *", "field 2 (hour): 25 is above the maximum 23"),
        ("* 1,2-24 * * *", "field 2 (hour): 24 is above the maximum 23"),
        ("* * 0 * *", "field 3 (day of month): 0 is below the minimum 1"),
        ("* * 32 * *", "field 3 (day of month): 32 is above the maximum 31"),
        ("* * * 13 *", "field 4 (month): 13 is above the maximum 12"),
        ("* * * Sept *", 'field 4 (month): "Sept" is not a number'),
        ("* * * * 7", "field 5 (day of week): 7 is above the maximum 6"),
        ("* * * * jan", 'field 5 (day of week): "jan" is not a number'),
        ("* * * * SAT-SUN", 'field 5 (day of week): "SAT-SUN" begins after its end'),
        ("60 * * * * *", "field 1 (second): 60 is above the maximum 59"),
        ("0 0 0 0 1 *", "field 4 (day of month): 0 is below the minimum 1"),
        ("*/0 * * * *", 'field 1 (minute): the step in "*/0" is 0'),
        ("*/-1 * * * *", 'the step in "*/-1" is -1'),
        ("*/x * * * *", '"x" in "*/x" is not a number'),
        ("1/ * * * *", 'a number is missing in "1/"'),
        ("1/2/3 * * * *", 'more than one "/" in "1/2/3"'),
        ("1-2-3 * * * *", 'more than one "-" in "1-2-3"'),
        ("-5 * * * *", 'a number is missing in "-5"'),
        ("5- * * * *", 'a number is missing in "5-"'),
        ("1_0 * * * *", '"1_0" is not a number'),
        ("\u0663 * * * *", "is not a number"),
        ("1.5 * * * *", '"1.5" is not a number'),
        ("9" * 5000 + " * * * *", "is not a number"),
        ("@Daily", 'unrecognized descriptor "@Daily". Did you mean "@daily"?'),
        ("@daily ", 'unrecognized descriptor "@daily "'),
        (" @daily", "expected 5 fields"),
        ("@reboot", 'unrecognized descriptor "@reboot"'),
        ("@every", 'unrecognized descriptor "@every"'),
        ("@every 1d", "write 24h"),
        ("@every  1h", '" 1h" is not a Go duration'),
        ("@every 5", '"5" is not a Go duration'),
        ("TZ=Asia/Tokyo", 'nothing follows the time zone prefix "TZ=Asia/Tokyo"'),
        ("CRON_TZ=Asia/Tokyo ", "expected 5 fields"),
        ("TZ=Asia/Tokio * * * * *", 'unknown time zone "Asia/Tokio". Did you mean "Asia/Tokyo"?'),
        ("TZ= * * * * *", 'unknown time zone ""'),
        ("TZ=Asia * * * * *", 'unknown time zone "Asia"'),
        ("TZ=../UTC * * * * *", 'unknown time zone "../UTC"'),
        (" TZ=UTC * * * * *", 'field 1 (second): "TZ=UTC" is not a number'),
    ],
)
def test_a_refusal_quotes_the_spec_and_says_where_and_why(spec: str, reason: str) -> None:
    with pytest.raises(CronError) as refused:
        parse(spec)

    assert str(refused.value).startswith(f'cron spec "{spec}": ')
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("* * * * 7", "Sunday is 0"),
        ("* * L * *", "L, W and # of other crons are not supported"),
        ("* * * * 5#2", "L, W and # of other crons are not supported"),
        ("* 22-5 * * *", "does not wrap around"),
        ("@fortnightly", "@monthly, @weekly, @daily"),
        ("TZ=Nowhere * * * * *", "Europe/Berlin"),
    ],
)
def test_a_refusal_tells_what_to_try(spec: str, hint: str) -> None:
    with pytest.raises(CronError) as refused:
        parse(spec)

    assert hint in refused.value.hint


def test_an_unknown_zone_or_policy_passed_as_an_argument_is_refused_too() -> None:
    with pytest.raises(CronError, match='unknown time zone "Mars/Base"'):
        parse("* * * * *", timezone="Mars/Base")
    with pytest.raises(CronError, match='unknown dst policy "none"'):
        parse("* * * * *", dst="none")  # type: ignore[arg-type]


def test_a_refusal_counts_as_wrong_usage_and_as_a_value_error() -> None:
    assert issubclass(CronError, ValueError)
    assert CronError("").exit_code is ExitCode.USAGE


@given(st.text(st.sampled_from("0159*?/-, @LWtz=+.#ajn\u0663"), max_size=25))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(CronError):
        parse(text).next(START)


@given(st.lists(st.text(st.sampled_from("0129*?/-,"), min_size=1), min_size=5, max_size=6))
def test_any_fields_are_read_or_refused(fields: list[str]) -> None:
    with suppress(CronError):
        parse(" ".join(fields)).next(START)
