"""
Durations as people write them: `500ms`, `30s`, `5m`, `2h`, `7d`, `1w`, `1h30m`, `1.5h`.

Inside qd a duration is a float of seconds; text is read and written only here. The resolution is
one microsecond.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta

from qd.errors import InvalidDuration

_MICROSECONDS = {
    "w": 604_800_000_000,
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
}

# Largest unit first, each at most once: "30m1h" and "1h1h" are slips more often than intentions.
_DURATION = re.compile("".join(rf"(?:(\d+(?:\.\d+)?){unit})?" for unit in _MICROSECONDS), re.ASCII)
_BARE_NUMBER = re.compile(r"[+-]?(\d+(?:\.\d+)?)", re.ASCII)
_WORDY = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)", re.ASCII | re.IGNORECASE)
_UNIT_WORDS = {
    "millisecond": "ms",
    "msec": "ms",
    "second": "s",
    "sec": "s",
    "minute": "m",
    "min": "m",
    "hour": "h",
    "hr": "h",
    "day": "d",
    "week": "w",
}


def parse_duration(text: str) -> float:
    """
    Read a duration such as `1h30m` and return its seconds.

    Raises:
        InvalidDuration: The text is not a duration; the message says what to write instead.
            A number without a unit is refused, since nobody can tell seconds from minutes.
    """
    stripped = text.strip()
    match = _DURATION.fullmatch(stripped)
    if not stripped or match is None:
        raise InvalidDuration(_refusal(stripped))
    total = 0.0
    for number, unit in zip(match.groups(), _MICROSECONDS.values(), strict=True):
        if number is not None:
            total += float(number) * unit
    if not math.isfinite(total):
        raise InvalidDuration(f'"{stripped}" is too long for a duration')
    return round(total) / 1_000_000


def format_duration(seconds: float) -> str:
    """
    Write seconds as short text: 90 -> `1m30s`, 0.5 -> `500ms`, 0 -> `0s`.

    `parse_duration` reads it back to the same number, to the microsecond. A negative number gets
    a minus sign, for showing only.
    """
    rest = round(abs(seconds) * 1_000_000)
    if rest == 0:
        return "0s"
    parts = ["-"] if seconds < 0 else []
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, _MICROSECONDS[unit])
        if count:
            parts.append(f"{count}{unit}")
    if rest:
        parts.append(f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "ms")
    return "".join(parts)


def seconds(value: float | str | timedelta) -> float:
    """
    Return the seconds of a duration given in Python: a number of seconds, text or a timedelta.

    Raises:
        InvalidDuration: Not a duration, negative, or not finite.
    """
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, timedelta):
        number = value.total_seconds()
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value)
    else:
        raise InvalidDuration(
            f"{value!r} is not a duration: give seconds as a number, text such as"
            ' "5m", or a timedelta'
        )
    if not math.isfinite(number) or number < 0:
        raise InvalidDuration(f"{value!r} is not a duration: it must be zero or more, and finite")
    return number


def _refusal(text: str) -> str:
    """Say what is wrong with `text`, with the likely fix first."""
    if not text:
        return "a duration is missing: write one such as 30s or 5m"
    bare = _BARE_NUMBER.fullmatch(text)
    if text.startswith("-"):
        return f'"{text}" is negative: a duration is zero or more, such as 30s'
    if bare is not None:
        number = bare[1]
        if float(number) == 0:
            return f"{text} has no unit: write 0s"
        return f"{text} has no unit: write {number}s for seconds or {number}m for minutes"
    wordy = _WORDY.fullmatch(text)
    if wordy is not None:
        word = wordy[2].lower()
        unit = word if word in _MICROSECONDS else _UNIT_WORDS.get(word.rstrip("s"))
        if unit is not None:
            return f'"{text}" is not a duration: write {wordy[1]}{unit}'
    return (
        f'"{text}" is not a duration: write numbers with the units w d h m s ms, the largest'
        " first, such as 30s, 5m or 1h30m"
    )
