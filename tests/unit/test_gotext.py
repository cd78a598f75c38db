"""Text shared with Go programs is what Go writes, and what Go wrote is read."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qd.errors import InvalidDuration, UsageError
from qd.protocol.gotext import (
    OptionText,
    format_duration,
    option_strings,
    parse_go_duration,
    parse_option,
    quote,
    unix_date,
)

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-0.0, "0s"),
        (1e-9, "1ns"),
        (4e-10, "0s"),
        (1.1e-6, "1.1\u00b5s"),
        (0.0015, "1.5ms"),
        (0.1, "100ms"),
        (0.999999999, "999.999999ms"),
        (1, "1s"),
        (1.5, "1.5s"),
        (30, "30s"),
        (60, "1m0s"),
        (61.5, "1m1.5s"),
        (90, "1m30s"),
        (3600, "1h0m0s"),
        (86_400, "24h0m0s"),
        (129_600, "36h0m0s"),
        (-2, "-2s"),
        (-0.25, "-250ms"),
        (1_000_000_000.1, "277777h46m40.1s"),
        (9_223_372_036, "2562047h47m16s"),
    ],
)
def test_a_duration_is_written_as_go_prints_it(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 1e10, -1e300])
def test_a_duration_go_cannot_hold_is_refused(seconds: float) -> None:
    with pytest.raises(InvalidDuration):
        format_duration(seconds)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("-0", 0),
        ("0s", 0),
        ("30s", 30),
        ("1h30m", 5400),
        ("30m1h", 5400),
        ("1s1s", 2),
        ("1.5h", 5400),
        ("1.h", 3600),
        (".5s", 0.5),
        ("+5s", 5),
        ("-1.5s", -1.5),
        ("100us", 0.0001),
        ("100\u00b5s", 0.0001),
        ("100\u03bcs", 0.0001),
        ("2ms", 0.002),
        ("1m1s", 61),
        ("007s", 7),
        ("0." + "3" * 5000 + "s", 0.333333333),
        ("1m0.000000001s", 60.000000001),
    ],
)
def test_a_duration_is_read_as_go_reads_it(text: str, seconds: float) -> None:
    assert parse_go_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "-",
        "5",
        "1.5",
        "s",
        ".s",
        "1 s",
        " 1s",
        "1s ",
        "--1s",
        "1x",
        "1S",
        "1hm",
        "1h-1m",
        "1_0s",
        "1e3s",
        "\u0661s",
        "300000000h",
        "9" * 5000 + "h",
    ],
)
def test_text_that_is_no_go_duration_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(InvalidDuration) as refused:
        parse_go_duration(text)

    assert f'"{text}"' in str(refused.value)


def test_days_are_refused_with_the_hours_to_write() -> None:
    with pytest.raises(InvalidDuration, match="write 48h"):
        parse_go_duration("2d")


@given(st.integers(-9_000_000_000_000_000, 9_000_000_000_000_000))
def test_a_duration_survives_writing_and_reading(microseconds: int) -> None:
    seconds = microseconds / 1_000_000

    assert parse_go_duration(format_duration(seconds)) == pytest.approx(seconds, rel=0, abs=2e-6)


@given(st.text(max_size=20))
def test_reading_a_duration_ends_in_a_number_or_a_refusal(text: str) -> None:
    with suppress(InvalidDuration):
        assert isinstance(parse_go_duration(text), float)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (NEW_YEAR, "Thu Jan  1 00:00:00 UTC 2026"),
        (datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "Thu Dec 31 23:59:59 UTC 2026"),
        (
            datetime(2026, 7, 1, 1, 30, tzinfo=ZoneInfo("Europe/Berlin")),
            "Tue Jun 30 23:30:00 UTC 2026",
        ),
    ],
)
def test_a_moment_is_written_in_utc_and_in_english(moment: datetime, text: str) -> None:
    assert unix_date(moment) == text


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(UsageError, match="time zone"):
        unix_date(NEW_YEAR.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("", '""'),
        ("low", '"low"'),
        ("a b", '"a b"'),
        ('a"b\\c', r'"a\"b\\c"'),
        ("\a\b\f\n\r\t\v", r'"\a\b\f\n\r\t\v"'),
        ("\x00\x1b\x7f", r'"\x00\x1b\x7f"'),
        ("\x80\xa0\xad", r'"\u0080\u00a0\u00ad"'),
        ("\u00fc\u20ac\U0001f600", '"\u00fc\u20ac\U0001f600"'),
        ("\u200b\u2028\ufeff\ue000", r'"\u200b\u2028\ufeff\ue000"'),
        ("\ufffd", '"\ufffd"'),
        ("\U000e0001", r'"\U000e0001"'),
        (b"a\xffb".decode("utf-8", "surrogateescape"), r'"a\xffb"'),
        ("\ud800", r'"\ufffd"'),
        ("a)b(c", '"a)b(c"'),
    ],
)
def test_text_is_quoted_as_go_quotes_it(text: str, quoted: str) -> None:
    assert quote(text) == quoted


def test_options_are_written_exactly_as_asynq_writes_them() -> None:
    assert option_strings(
        group="g1",
        retention=86_400,
        process_in=90,
        process_at=NEW_YEAR,
        unique=3600,
        deadline=NEW_YEAR,
        timeout=30,
        task_id="abc",
        queue="low",
        max_retry=3,
    ) == [
        "MaxRetry(3)",
        'Queue("low")',
        'TaskID("abc")',
        "Timeout(30s)",
        "Deadline(Thu Jan  1 00:00:00 UTC 2026)",
        "Unique(1h0m0s)",
        "ProcessAt(Thu Jan  1 00:00:00 UTC 2026)",
        "ProcessIn(1m30s)",
        "Retention(24h0m0s)",
        'Group("g1")',
    ]


def test_options_that_are_not_set_are_not_written_and_zeros_are() -> None:
    assert option_strings() == []
    assert option_strings(max_retry=0, timeout=0) == ["MaxRetry(0)", "Timeout(0s)"]


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("MaxRetry(3)", "max_retry", 3),
        ('Queue("low")', "queue", "low"),
        ('TaskID("abc")', "task_id", "abc"),
        ("Timeout(1m30s)", "timeout", 90.0),
        ("Deadline(Thu Jan  1 00:00:00 UTC 2026)", "deadline", NEW_YEAR),
        ("Unique(1h0m0s)", "unique", 3600.0),
        ("ProcessAt(Thu Jan  1 00:00:00 UTC 2026)", "process_at", NEW_YEAR),
        ("ProcessIn(1m30s)", "process_in", 90.0),
        ("Retention(24h0m0s)", "retention", 86_400.0),
        ('Group("g1")', "group", "g1"),
        ('Queue("a)b\\n\\u00a0\\xc3\\xa9")', "queue", "a)b\n\xa0\xe9"),
    ],
)
def test_an_option_is_shown_by_its_name_in_qd(text: str, name: str, value: object) -> None:
    assert parse_option(text) == OptionText(name, value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("", "", ""),
        ("free form", "free form", ""),
        ('Header(["k","v"])', "Header", '["k","v"]'),
        ("Queue(low)", "queue", "low"),
        ('Queue("low', "queue", '"low'),
        (r'Queue("\ud800")', "queue", r'"\ud800"'),
        ("MaxRetry(many)", "max_retry", "many"),
        ("MaxRetry(\u0663)", "max_retry", "\u0663"),
        ("Timeout(soon)", "timeout", "soon"),
        ("Deadline(tomorrow)", "deadline", "tomorrow"),
        ("Deadline(Fri Feb 30 00:00:00 UTC 2026)", "deadline", "Fri Feb 30 00:00:00 UTC 2026"),
        (
            "Deadline(Thu Jan  1 00:00:00 CET 2026)",
            "deadline",
            "Thu Jan  1 00:00:00 CET 2026",
        ),
    ],
)
def test_an_option_that_cannot_be_read_is_shown_as_it_is(text: str, name: str, value: str) -> None:
    assert parse_option(text) == OptionText(name, value)


# Half a surrogate pair has no encoding and never arrives; U+DC80 to U+DCFF stand for raw bytes.
@given(st.text(st.characters(codec="utf-8")))
def test_any_queue_name_survives_writing_and_reading(queue: str) -> None:
    (text,) = option_strings(queue=queue)

    assert parse_option(text) == OptionText("queue", queue)


@given(st.binary())
def test_bytes_that_are_no_text_survive_writing_and_reading(raw: bytes) -> None:
    queue = raw.decode("utf-8", "surrogateescape")

    assert parse_option(option_strings(queue=queue)[0]).value == queue


@given(st.text(st.characters()), st.sampled_from(["Queue", "MaxRetry", "Deadline", "Unique"]))
def test_showing_an_option_never_fails(inside: str, name: str) -> None:
    parse_option(inside)
    parse_option(f"{name}({inside})")
    parse_option(f'{name}("{inside}")')


@given(st.datetimes(timezones=st.timezones()))
def test_a_moment_survives_writing_and_reading_to_the_second(moment: datetime) -> None:
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:
        return

    (text,) = option_strings(deadline=moment)

    shown = parse_option(text).value
    assert isinstance(shown, datetime)
    assert timedelta(0) <= utc - shown < timedelta(seconds=1)
