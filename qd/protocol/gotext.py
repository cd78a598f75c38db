"""
Go text that asynq's tools parse: durations, dates, quoted strings, and a scheduler entry's options.

The options of an entry are stored as text such as `Queue("low")`. asynq's command line and web UI
read them back, and crash on a string without "(". So they are written by `option_strings` and by
nothing else, and read by `parse_option`, which takes whatever it finds.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from msgspec import Struct

from qd.errors import InvalidDuration, UsageError
from qd.policy.go_duration import format_duration, parse_go_duration

__all__ = [
    "OptionText",
    "format_duration",
    "option_strings",
    "parse_go_duration",
    "parse_option",
    "quote",
    "unix_date",
]

# strftime() and strptime() follow the locale of the process; Go is always English.
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNIX_DATE = re.compile(
    rf"(?:{'|'.join(_WEEKDAYS)}) ({'|'.join(_MONTHS)}) ([ 0-9][0-9])"
    r" ([0-9]{2}):([0-9]{2}):([0-9]{2}) UTC ([0-9]{4})"
)

_ESCAPES = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    "\\": r"\\",
    '"': r"\"",
}
_UNESCAPES = {escape: char for char, escape in _ESCAPES.items()}
# The escapes that quote() and Go write; Go would also read octal ones. Half a surrogate pair, as
# an escape or as it is, is no text and stays unread.
_ESCAPE = re.compile(
    r"\\(?:[abfnrtv\\\"]|x[0-9a-f]{2}|u(?!d[89a-f])[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4})"
)
_QUOTED = re.compile(rf'"((?:[^"\\\ud800-\udc7f\udd00-\udfff]|{_ESCAPE.pattern})*)"')


def unix_date(moment: datetime) -> str:
    """
    Write a moment in Go's UnixDate layout, such as `Thu Jan  1 00:00:00 UTC 2026`.

    Always in UTC: Go reads the abbreviation of any other zone as an offset of zero. Fractions of
    a second are dropped.

    Raises:
        UsageError: The moment has no time zone.
    """
    if moment.tzinfo is None:
        raise UsageError(f"{moment} has no time zone: pass an aware datetime")
    utc = moment.astimezone(UTC)
    return (
        f"{_WEEKDAYS[utc.weekday()]} {_MONTHS[utc.month - 1]} {utc.day:2d}"
        f" {utc:%H:%M:%S} UTC {utc.year:04d}"
    )


def quote(text: str) -> str:
    r"""
    Quote text as Go's strconv.Quote does; printable Unicode stays as it is.

    Bytes that were not UTF-8 (decoded with "surrogateescape") become `\xNN`, as in Go.
    """
    return '"' + "".join(_quoted(char) for char in text) + '"'


def option_strings(
    *,
    max_retry: int | None = None,
    queue: str | None = None,
    task_id: str | None = None,
    timeout: float | None = None,
    deadline: datetime | None = None,
    unique: float | None = None,
    process_at: datetime | None = None,
    process_in: float | None = None,
    retention: float | None = None,
    group: str | None = None,
) -> list[str]:
    """
    Write the options of a scheduler entry exactly as asynq v0.26 does, one string each.

    The order is that of the parameters, so that equal options give equal lists. An option that
    is None is left out. Durations are seconds. There is no string for headers: asynq v0.26 has
    no such option. asynq itself drops `TaskID` and `Group` when it reads an entry, and a queue
    whose name contains ")"; people see less there, and nothing breaks.

    Raises:
        InvalidDuration: A duration is not finite or beyond 292 years.
        UsageError: A moment has no time zone.
    """
    texts = {
        "MaxRetry": None if max_retry is None else str(max_retry),
        "Queue": None if queue is None else quote(queue),
        "TaskID": None if task_id is None else quote(task_id),
        "Timeout": None if timeout is None else format_duration(timeout),
        "Deadline": None if deadline is None else unix_date(deadline),
        "Unique": None if unique is None else format_duration(unique),
        "ProcessAt": None if process_at is None else unix_date(process_at),
        "ProcessIn": None if process_in is None else format_duration(process_in),
        "Retention": None if retention is None else format_duration(retention),
        "Group": None if group is None else quote(group),
    }
    return [f"{name}({text})" for name, text in texts.items() if text is not None]


class OptionText(Struct, frozen=True):
    """An option of a scheduler entry: its name in qd and its value; durations are seconds."""

    name: str
    value: int | float | str | datetime


def parse_option(text: str) -> OptionText:
    """
    Read an option string for showing it; never fails.

    Other programs write these strings too. An unknown option keeps the name it was written with,
    a value that cannot be read stays text, and text without parentheses becomes a name with an
    empty value.
    """
    name, _, rest = text.partition("(")
    value = rest.removesuffix(")")
    match name:
        case "MaxRetry":
            known = re.fullmatch(r"-?[0-9]{1,10}", value)
            return OptionText("max_retry", int(value) if known else value)
        case "Queue" | "TaskID" | "Group":
            qd_name = "task_id" if name == "TaskID" else name.lower()
            return OptionText(qd_name, _unquoted_or_text(value))
        case "Timeout" | "Unique" | "ProcessIn" | "Retention":
            qd_name = "process_in" if name == "ProcessIn" else name.lower()
            return OptionText(qd_name, _duration_or_text(value))
        case "Deadline" | "ProcessAt":
            qd_name = "process_at" if name == "ProcessAt" else name.lower()
            return OptionText(qd_name, _moment_or_text(value))
    return OptionText(name, value)


def _unquoted_or_text(value: str) -> str:
    quoted = _QUOTED.fullmatch(value)
    if quoted is None:
        return value
    raw = _ESCAPE.sub(_unescaped, quoted[1])
    # Escaped bytes may be the pieces of one character; only now are they next to each other.
    return raw.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _duration_or_text(value: str) -> float | str:
    try:
        return parse_go_duration(value)
    except InvalidDuration:
        return value


def _moment_or_text(value: str) -> datetime | str:
    match = _UNIX_DATE.fullmatch(value)
    if match is None:
        return value
    month, day, hour, minute, second, year = match.groups()
    try:
        return datetime(
            int(year),
            _MONTHS.index(month) + 1,
            int(day),
            int(hour),
            int(minute),
            int(second),
            tzinfo=UTC,
        )
    except ValueError:  # 31 February, hour 25
        return value


def _quoted(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    # Python and Go call the same categories printable; only their Unicode versions may differ.
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if 0xD800 <= code <= 0xDFFF:
        return r"\ufffd"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _unescaped(match: re.Match[str]) -> str:
    escape = match[0]
    if escape in _UNESCAPES:
        return _UNESCAPES[escape]
    code = int(escape[2:], 16)
    return chr(code + 0xDC00) if escape[1] == "x" and code >= 0x80 else chr(code)
