from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qd.durations import format_duration, parse_duration, seconds
from qd.errors import ExitCode, InvalidDuration

A_CENTURY = 100 * 365 * 86_400


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("5m", 300),
        ("2h", 7200),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("0.25s", 0.25),
        ("1w2d3h4m5s6ms", 604_800 + 2 * 86_400 + 3 * 3600 + 4 * 60 + 5.006),
        ("90m", 5400),
        ("0s", 0),
        (" 30s ", 30),
    ],
)
def test_text_with_units_is_read_as_seconds(text: str, expected: float) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("30", "30 has no unit: write 30s for seconds or 30m for minutes"),
        ("1.5", "write 1.5s for seconds or 1.5m for minutes"),
        ("0", "write 0s"),
        ("", "write one such as 30s"),
        ("-5s", "negative"),
        ("-5", "negative"),
        ("5 min", "write 5m"),
        ("5 minutes", "write 5m"),
        ("2 hrs", "write 2h"),
        ("3weeks", "write 3w"),
        ("10 s", "write 10s"),
        ("5M", "write 5m"),
        ("250msec", "write 250ms"),
        ("1m1h", "the largest first"),
        ("1h1h", "the largest first"),
        ("1e3s", "the units w d h m s ms"),
        ("s", "the units w d h m s ms"),
        ("30s\n5m", "the units w d h m s ms"),
        ("٣s", "the units w d h m s ms"),
        ("9" * 400 + "s", "too long"),
    ],
)
def test_other_text_is_refused_with_the_likely_fix(text: str, fix: str) -> None:
    with pytest.raises(InvalidDuration) as caught:
        parse_duration(text)
    assert fix in str(caught.value)


def test_a_refusal_is_a_value_error_and_a_usage_error() -> None:
    with pytest.raises(ValueError, match="no unit") as caught:
        parse_duration("30")
    assert isinstance(caught.value, InvalidDuration)
    assert caught.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0s"),
        (90, "1m30s"),
        (0.5, "500ms"),
        (1800, "30m"),
        (604_800, "7d"),
        (86_400, "1d"),
        (0.0005, "0.5ms"),
        (3661.25, "1h1m1s250ms"),
        (-90, "-1m30s"),
    ],
)
def test_seconds_are_shown_short(value: float, text: str) -> None:
    assert format_duration(value) == text


@given(st.integers(min_value=0, max_value=A_CENTURY * 1_000_000))
@example(999_999)
@example(1)
def test_what_is_shown_is_read_back_to_the_microsecond(microseconds: int) -> None:
    value = microseconds / 1_000_000
    assert parse_duration(format_duration(value)) == value


@given(st.text(max_size=12))
def test_any_text_is_a_duration_of_zero_or_more_or_is_refused(text: str) -> None:
    try:
        value = parse_duration(text)
    except InvalidDuration:
        value = 0.0
    assert value >= 0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5.0),
        (0.25, 0.25),
        ("5m", 300.0),
        (timedelta(hours=1, milliseconds=1), 3600.001),
        (0, 0.0),
    ],
)
def test_a_number_in_python_is_a_number_of_seconds(
    value: float | str | timedelta, expected: float
) -> None:
    assert seconds(value) == expected


@pytest.mark.parametrize(
    "value", [-1, float("nan"), float("inf"), True, None, [], timedelta(seconds=-1), "5"]
)
def test_what_is_no_duration_in_python_is_refused(value: object) -> None:
    with pytest.raises(InvalidDuration):
        seconds(value)  # type: ignore[arg-type]
