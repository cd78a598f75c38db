"""
The kinds of values a setting can hold: how each is read from text or from Python, and shown.

Reading raises ValueError with a message for people: what is wrong, and what to write instead.
Ranges are not checked here; they belong to the setting (`setting.py`).
"""

# ruff: noqa: TRY004 - a value of the wrong type is a problem to report like all others

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from msgspec import Struct

from qd.config.addresses import check_listen_address, check_redis_address, split_redis_addresses
from qd.config.secrets import MASK, Secret, mask_url
from qd.config.sizes import format_size, parse_size
from qd.durations import format_duration, parse_duration, seconds
from qd.suggest import did_you_mean

_WHOLE = re.compile(r"[+-]?\d+(_\d+)*", re.ASCII)
_SWITCHES = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_QUEUE_NAME_LIMIT = 200
_RATE = re.compile(r"(\d+(?:\.\d+)?)/(s|min|h|day)|0", re.ASCII)
_RATE_SECONDS = {"s": 1, "min": 60, "h": 3600, "day": 86400}


def _as_is(value: Any) -> Any:
    return value


class Kind(Struct, frozen=True):
    """A kind of single value."""

    parse: Callable[[str], Any]
    native: Callable[[object], Any]
    show: Callable[[Any], Any] = _as_is
    # The words of a choice.
    options: tuple[str, ...] = ()


class ListOf(Struct, frozen=True):
    """Several values of one kind: a YAML list, or text that `split` divides."""

    kind: Kind
    split: Callable[[str], list[str]]


class MapOf(Struct, frozen=True):
    """Values of one kind by name: a YAML mapping, or text such as `a=1,b=2`."""

    name: Kind
    kind: Kind
    # What a name without a value gets in the text form; None where it needs one.
    bare: Any = None


class Data(Struct, frozen=True):
    """Anything that JSON can hold."""


def _text(text: str) -> str:
    if any(ord(letter) < 32 for letter in text):
        raise ValueError("control characters such as a line break cannot be part of it")
    return text


def _text_native(value: object) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text; write it as a string")
    return _text(value)


def _whole(text: str) -> int:
    if _WHOLE.fullmatch(text) is None:
        raise ValueError(f'"{text}" is not a whole number; write one such as 10')
    return int(text)


def _whole_native(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is not a whole number; write one such as 10")
    return value


def _number(text: str) -> float:
    try:
        return _number_native(float(text))
    except ValueError:
        raise ValueError(f'"{text}" is not a number; write one such as 0.5') from None


def _number_native(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a number; write one such as 0.5")
    return float(value)


def _show_number(value: float) -> float | int:
    return int(value) if value == int(value) else value


def _switch(text: str) -> bool:
    try:
        return _SWITCHES[text.lower()]
    except KeyError:
        raise ValueError(f'"{text}" is not a switch; write true or false') from None


def _switch_native(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is not a switch; use True or False")
    return value


def _duration_native(value: object) -> float:
    return seconds(value)  # type: ignore[arg-type]  # it refuses all other types by itself


def _size_native(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is not a size; use bytes or text such as 1MiB")
    return value


def _show_size(value: int) -> str | int:
    text = format_size(value)
    return value if text.isdecimal() else text


def _secret_native(value: object) -> Secret:
    if not isinstance(value, Secret):
        raise ValueError("the value is not text; write it as a string")
    return value


def _queue(text: str) -> str:
    _text(text)
    if not text.strip():
        raise ValueError("a queue name must not be blank")
    if "{" in text or "}" in text:
        raise ValueError(f'"{text}" cannot name a queue; leave out the braces')
    if len(text) > _QUEUE_NAME_LIMIT:
        raise ValueError(f"a queue name has at most {_QUEUE_NAME_LIMIT} characters")
    return text


def _queue_prefix(text: str) -> str:
    return _queue(text) if text else text


def _name(text: str) -> str:
    _text(text)
    if not text.strip():
        raise ValueError("it must not be blank")
    return text


def _rate(text: str) -> float:
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is not a rate; write one such as 10/s, 90/min or 500/h')
    return float(match[1]) / _RATE_SECONDS[match[2]] if match[1] else 0.0


def _rate_native(value: object) -> float:
    if isinstance(value, str):
        return _rate(value)
    if value != 0 or isinstance(value, bool):
        raise ValueError(f'{value!r} has no unit of time; write "{value}/s", "{value}/min" ...')
    return 0.0


def show_rate(value: float) -> str | int:
    """Write a rate as it is read: the shortest unit that makes it a whole number."""
    if not value:
        return 0
    for unit, seconds_each in (("s", 1), ("min", 60), ("h", 3600), ("day", 86400)):
        count = value * seconds_each
        if math.isclose(count, round(count), rel_tol=1e-9):
            return f"{round(count)}/{unit}"
    return f"{value:g}/s"


def _limit_key(text: str) -> str:
    where, dot, rest = text.partition(".")
    if text and (where not in ("payload", "headers") or not dot or not rest):
        raise ValueError(f'"{text}" leads nowhere; write payload.NAME or headers.NAME')
    return text


def _time_zone(text: str) -> str:
    if text == "UTC":
        return text
    # Only for zones that are really used: the import and the table of names cost milliseconds.
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        hint = did_you_mean(text, zoneinfo.available_timezones())
        raise ValueError(
            f'"{text}" is not a time zone.{hint or " Write one such as UTC or Europe/Paris"}'
        ) from None
    return text


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f'"{text}" is not a time; write one such as 2030-01-31T08:00:00Z'
        ) from None
    return _moment_native(moment)


def _moment_native(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise ValueError(f"{value!r} is not a time; use an aware datetime")
    if value.tzinfo is None:
        raise ValueError(f"{value.isoformat()} has no time zone; write Z behind it for UTC")
    return value


def _show_moment(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z")


def _from_text(check: Callable[[str], Any]) -> Callable[[object], Any]:
    return lambda value: check(_text_native(value))


def split_at_commas(text: str) -> list[str]:
    """Return the parts of a text, without blanks around them and without empty ones."""
    return [part.strip() for part in text.split(",") if part.strip()]


def choice(*options: str) -> Kind:
    """Return the kind that takes exactly these words."""

    def check(text: str) -> str:
        if text not in options:
            hint = did_you_mean(text, options) or f" Write {' or '.join(options)}"
            raise ValueError(f'"{text}" is not one of {", ".join(options)}.{hint}')
        return text

    return Kind(check, _from_text(check), options=options)


TEXT = Kind(_text, _text_native)
WHOLE = Kind(_whole, _whole_native)
NUMBER = Kind(_number, _number_native, _show_number)
SWITCH = Kind(_switch, _switch_native)
DURATION = Kind(parse_duration, _duration_native, format_duration)
SIZE = Kind(parse_size, _size_native, _show_size)
SECRET = Kind(Secret, _secret_native, lambda value: MASK if value else "")
QUEUE = Kind(_queue, _from_text(_queue))
QUEUE_PREFIX = Kind(_queue_prefix, _from_text(_queue_prefix))
NAME = Kind(_name, _from_text(_name))
TIME_ZONE = Kind(_time_zone, _from_text(_time_zone))
MOMENT = Kind(_moment, _moment_native, _show_moment)
LISTEN_ADDRESS = Kind(check_listen_address, _from_text(check_listen_address))
REDIS_ADDRESS = Kind(check_redis_address, _from_text(check_redis_address), mask_url)
REDIS_ADDRESSES = ListOf(REDIS_ADDRESS, split_redis_addresses)
RATE = Kind(_rate, _rate_native, show_rate)
LIMIT_KEY = Kind(_limit_key, _from_text(_limit_key))
TEXTS = ListOf(NAME, split_at_commas)
QUEUES = ListOf(QUEUE, split_at_commas)
DURATIONS = ListOf(DURATION, split_at_commas)
