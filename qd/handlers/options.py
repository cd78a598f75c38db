"""The one vocabulary of task options: keywords, decorator, builder, YAML and command line."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, TypedDict

from msgspec import Struct
from msgspec.structs import replace

from qd.durations import seconds
from qd.errors import UsageError
from qd.suggest import did_you_mean

Duration = float | int | str | timedelta
"""Seconds as a number, a text such as "5m", or a timedelta."""


class OptionKeywords(TypedDict, total=False):
    """Keyword arguments that every way to enqueue takes."""

    queue: str
    max_retry: int
    timeout: Duration
    deadline: datetime
    process_in: Duration
    process_at: datetime
    task_id: str
    unique: Duration
    retention: Duration
    group: str
    headers: Mapping[str, str]


class TaskOptions(Struct, frozen=True):
    """
    Options of a task; None is "not given". Durations in seconds, moments are aware datetimes.

    Values given later win over earlier ones, see `over`.
    """

    queue: str | None = None
    max_retry: int | None = None
    timeout: float | None = None
    deadline: datetime | None = None
    process_in: float | None = None
    process_at: datetime | None = None
    task_id: str | None = None
    unique: float | None = None
    retention: float | None = None
    group: str | None = None
    headers: Mapping[str, str] | None = None

    @classmethod
    def of(cls, **given: Any) -> TaskOptions:
        """
        Return options from keywords, each checked.

        Raises:
            UsageError: An unknown option, a duration without a unit, a moment without a zone.
        """
        if not given:
            return NO_OPTIONS
        clean: dict[str, Any] = {}
        for name, value in given.items():
            if name not in NAMES:
                raise UsageError(f"unknown task option {name!r}.{did_you_mean(name, NAMES)}")
            if value is not None:
                clean[name] = _checked(name, value)
        if "process_in" in clean and "process_at" in clean:
            raise UsageError(
                "process_in and process_at are both given, and say when to run in two ways",
                hint="Give one of them.",
            )
        return cls(**clean)

    def over(self, base: TaskOptions) -> TaskOptions:
        """Return these options, with those of *base* where nothing was given. Headers are merged."""
        if base is NO_OPTIONS:
            return self
        if self is NO_OPTIONS:
            return base
        if base.headers is None and base.process_in is None and base.process_at is None:
            pairs = zip(_values(self), _values(base), strict=True)
            return TaskOptions(*[other if own is None else own for own, other in pairs])
        given = {name: value for name in NAMES if (value := getattr(self, name)) is not None}
        if self.headers and base.headers:
            given["headers"] = {**base.headers, **self.headers}
        if "process_in" in given or "process_at" in given:
            # They are one setting in two forms: the later one replaces the earlier.
            base = replace(base, process_in=None, process_at=None)
        return replace(base, **given)


_LONGEST = 292 * 365 * 24 * 3600
"""Seconds of the longest duration that Go has."""

NAMES: tuple[str, ...] = TaskOptions.__struct_fields__
_values = attrgetter(*NAMES)
NO_OPTIONS = TaskOptions()


def _checked(name: str, value: Any) -> Any:
    if name in ("timeout", "process_in", "unique", "retention"):
        try:
            number = seconds(value)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{name}: {error}") from error
        if number < 0 and name != "process_in":
            raise UsageError(f"{name}={value!r} is negative", hint="Durations are 0 or more.")
        if number > _LONGEST:
            raise UsageError(
                f"{name}={value!r} is more than 292 years",
                hint="Go servers could not read it; leave the option out for no limit.",
            )
        if name == "unique" and number < 1:
            raise UsageError(
                f"unique={value!r} is less than a second",
                hint="Redis keeps the lock in whole seconds; use 1s or more.",
            )
        return number
    if name in ("deadline", "process_at"):
        if not isinstance(value, datetime):
            raise UsageError(f"{name} must be a datetime, not {type(value).__name__}")
        if value.tzinfo is None:
            raise UsageError(
                f"{name}={value.isoformat()} has no time zone",
                hint="Use datetime.now(UTC) or a ZoneInfo.",
            )
        return value
    if name == "max_retry":
        if isinstance(value, bool) or not isinstance(value, int):
            raise UsageError(f"max_retry must be a whole number, not {value!r}")
        return min(max(value, 0), 2**31 - 1)
    if name == "headers":
        return checked_headers(value)
    if not isinstance(value, str):
        raise UsageError(f"{name} must be text, not {type(value).__name__}")
    return value


def checked_headers(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(
        isinstance(text, str) for pair in value.items() for text in pair
    ):
        raise UsageError(f"headers must map text to text, not {value!r}")
    headers = dict(value)
    try:
        "".join((*headers, *headers.values())).encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"headers hold text that has no UTF-8 form: {error}") from error
    return headers
