"""The kinds of values that options take beside text and numbers."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import click

from qd.durations import parse_duration
from qd.errors import InvalidDuration

_RATE = re.compile(r"(\d+(?:\.\d+)?)/(s|m|h)", re.ASCII)
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600}


class Duration(click.ParamType[float]):
    """Text such as `5m` to seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return parse_duration(value)
        except InvalidDuration as error:
            return self.fail(str(error), param, ctx)


class Moment(click.ParamType[datetime]):
    """An RFC 3339 time with its zone to an aware datetime in UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return parse_moment(value)
        except ValueError as error:
            return self.fail(str(error), param, ctx)


class Past(click.ParamType[datetime]):
    """`1h` (ago), `yesterday` (its begin in UTC), a day or an RFC 3339 time, to a datetime in UTC."""

    name = "age|time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        now = datetime.now(UTC)
        days_ago = {"today": 0, "yesterday": 1}.get(value)
        if days_ago is not None:
            return datetime.combine(now.date() - timedelta(days_ago), time(), UTC)
        try:
            if len(value) == len("2030-01-31") and value[4] == "-":
                return datetime.combine(date.fromisoformat(value), time(), UTC)
            return parse_moment(value) if "T" in value else now - _span(value)
        except (InvalidDuration, ValueError) as error:
            return self.fail(
                f"{error}; a time is 2030-01-31T08:00:00Z, 2030-01-31, today or yesterday",
                param,
                ctx,
            )


def _span(text: str) -> timedelta:
    return timedelta(seconds=parse_duration(text))


class Where(click.ParamType[Any]):
    """Text such as `user.id=42` to a condition on payloads."""

    name = "path=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from qd.cli.conditions import Condition

        if not isinstance(value, str):
            return value
        try:
            return Condition.parse(value)
        except ValueError as error:
            return self.fail(str(error), param, ctx)


class Rate(click.ParamType[float]):
    """Text such as `50/s` to a number per second."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        match = _RATE.fullmatch(value)
        if match is None or not float(match[1]):
            return self.fail(
                f'"{value}" is not a rate; write one such as 50/s or 600/m', param, ctx
            )
        return float(match[1]) / _SECONDS[match[2]]


class StartRate(click.ParamType[float]):
    """Text as in the configuration, such as `90/min`, to a number per second; 0 stands for any."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        from qd.config.kinds import RATE

        try:
            return RATE.parse(value)
        except ValueError as error:
            return self.fail(str(error), param, ctx)


class Percent(click.ParamType[float]):
    """Text such as `20%` to a share from 0 to 1."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        match = _PERCENT.fullmatch(value)
        if match is None or float(match[1]) > 100:
            return self.fail(f'"{value}" is not a share; write one such as 20%', param, ctx)
        return float(match[1]) / 100


class Pattern(click.ParamType[re.Pattern[str]]):
    """A regular expression of Python."""

    name = "regex"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return re.compile(value)
        except re.error as error:
            return self.fail(f'"{value}" is not a regular expression: {error}', param, ctx)


class Assignment(click.ParamType[tuple[str, str]]):
    """Text such as `trace=abc` to a pair."""

    name = "k=v"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        key, sign, text = value.partition("=")
        if not sign or not key:
            return self.fail(f'"{value}" is not k=v, such as trace=abc', param, ctx)
        return key, text


class Missed(click.ParamType[str]):
    """A policy for missed ticks, such as `once` or `all(20)`."""

    name = "policy"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from qd.config.missed import most_missed

        try:
            most_missed(value)
        except ValueError as error:
            return self.fail(str(error), param, ctx)
        return value


def parse_moment(text: str) -> datetime:
    """Return an RFC 3339 text as a datetime in UTC; ValueError says what is wrong with it."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f'"{text}" is not a time; write one such as 2030-01-31T08:00:00Z'
        ) from None
    if moment.tzinfo is None:
        raise ValueError(f'"{text}" has no time zone; write {moment.isoformat()}Z for UTC')
    return moment.astimezone(UTC)


DURATION = Duration()
MOMENT = Moment()
RATE = Rate()
PATTERN = Pattern()
PAST = Past()
PERCENT = Percent()
WHERE = Where()
ASSIGNMENT = Assignment()
MISSED = Missed()
