"""
Durations as Go writes and reads them: `1m30s`, `1h0m0s`, `1.5ms`.

People write durations to qd in the grammar of `qd.durations`, which has days and weeks. This one
is for text that Go programs share with us: `@every` specs and the options of scheduler entries.
Inside qd a duration is a number of seconds.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

from qd.errors import InvalidDuration

_SECOND = 1_000_000_000
# Go reads the micro sign (U+00B5) and the Greek letter mu (U+03BC), and writes the former.
_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,
    "\u03bcs": 1_000,
    "ms": 1_000_000,
    "s": _SECOND,
    "m": 60 * _SECOND,
    "h": 3600 * _SECOND,
}
_PART = re.compile(rf"([0-9]*)(?:\.([0-9]*))?({'|'.join(_NANOSECONDS)})")
_LONGEST = 2**63  # Go counts nanoseconds in 64 bits: 292 years


def format_duration(seconds: float) -> str:
    """
    Write a number of seconds as Go prints a duration: 90 -> `1m30s`, 0 -> `0s`, 0.0015 -> `1.5ms`.

    The resolution is one nanosecond.

    Raises:
        InvalidDuration: Not a finite number, or beyond the 292 years that Go can hold.
    """
    if not math.isfinite(seconds):
        raise InvalidDuration(f"{seconds} seconds is not a duration: it must be finite")
    # repr() is the shortest text that means this float; a product would show the float's noise.
    total = round(Decimal(repr(seconds)) * _SECOND)
    if not -_LONGEST <= total < _LONGEST:
        raise InvalidDuration(f"{seconds} seconds is too long: Go's durations end at 292 years")
    sign, total = ("-", -total) if total < 0 else ("", total)
    if total == 0:
        return "0s"
    if total < _SECOND:
        unit = next(u for u in ("ms", "\u00b5s", "ns") if total >= _NANOSECONDS[u])
        return f"{sign}{_decimal(total, _NANOSECONDS[unit])}{unit}"
    minutes, rest = divmod(total, _NANOSECONDS["m"])
    hours, minutes = divmod(minutes, 60)
    text = sign
    if hours:
        text += f"{hours}h"
    if hours or minutes:
        text += f"{minutes}m"
    return f"{text}{_decimal(rest, _SECOND)}s"


def parse_go_duration(text: str) -> float:
    """
    Read a duration in Go's grammar and return its seconds; it may be negative.

    Raises:
        InvalidDuration: The text is not a Go duration, or beyond 292 years.
    """
    body = text[1:] if text[:1] in ("-", "+") else text
    if body == "0":
        return 0.0
    total = position = 0
    while True:
        match = _PART.match(body, position)
        if match is None or not (match[1] or match[2]):
            raise InvalidDuration(_refusal(text))
        total += _part(match)
        position = match.end()
        if position == len(body):
            break
    if total >= _LONGEST:
        raise InvalidDuration(f'"{text}" is too long: Go\'s durations end at 292 years')
    return (-total if text[0] == "-" else total) / _SECOND


def _decimal(count: int, unit: int) -> str:
    """Write count / unit without trailing zeros; `unit` is a power of ten."""
    whole, fraction = divmod(count, unit)
    if not fraction:
        return str(whole)
    return f"{whole}.{fraction:0{len(str(unit)) - 1}d}".rstrip("0")


def _part(match: re.Match[str]) -> int:
    """Return the nanoseconds of one number and its unit."""
    unit = _NANOSECONDS[match[3]]
    whole = match[1].lstrip("0")
    # More digits than 64 bits hold: too long anyway, and int() refuses thousands of them.
    nanoseconds = (int(whole or "0") if len(whole) < 20 else _LONGEST) * unit
    fraction = f"{match[2] or '':0<18}"[:18]
    return nanoseconds + int(fraction) * unit // 10**18


def _refusal(text: str) -> str:
    likely = re.fullmatch(r"([0-9]+)([dw])", text)
    if likely is not None:
        hours = int(likely[1][:9]) * (24 if likely[2] == "d" else 168)
        return f'"{text}" is not a Go duration, which has no days or weeks: write {hours}h'
    return (
        f'"{text}" is not a Go duration: write numbers with the units h m s ms us ns,'
        " such as 30s, 1.5h or 1h30m"
    )
