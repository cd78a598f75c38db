"""
When something periodic is due: cron specs and `@every`, as asynq's scheduler reads them.

`parse` turns a spec into a Schedule, and a Schedule answers when it is due next. Pure: no clock,
so equal questions get equal answers on every host that has the same time zone data. The grammar
of the fields is in `policy.cron_spec`, the search in `policy.cron_next`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal, cast, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from msgspec import Struct

from qd.errors import CronError, InvalidDuration, UsageError
from qd.policy.cron_next import next_instant
from qd.policy.cron_spec import CronFields, parse_fields
from qd.policy.go_duration import parse_go_duration
from qd.suggest import did_you_mean

__all__ = ["CronError", "CronSchedule", "Dst", "Every", "Limited", "Schedule", "parse"]

Dst = Literal["debian", "asynq"]
"""
What happens to local times that a change of the clock skips or repeats.

- debian: as cron of Debian, but for a change of any length. A spec with fixed times is due exactly
  once for each: skipped ones at the first instant after the jump (02:30 becomes 03:00; all times
  in one jump together are due once), repeated ones the first time only. A wildcard spec, whose
  minute or hour (or second) begins with a star, follows the clock: not due while it jumps, due
  again in a repeated hour.
- asynq: every spec follows the clock, as in robfig/cron v3. (That one also loses the whole day
  when the clock jumps at midnight or by half an hour; here nothing but the jump is lost.)
"""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EVERY = "@every "


class Schedule(Struct, frozen=True):
    """When something is due. `spec` is the text it was made from, `timezone` the zone it is in."""

    spec: str
    timezone: str

    def next(self, after: datetime) -> datetime | None:
        """
        Return the first due time strictly after *after*, in UTC, at a whole second.

        None means never: nothing within five years (30 February), or past the year 9997.

        Raises:
            UsageError: *after* has no time zone.
        """
        raise NotImplementedError

    def between(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """
        Yield the due times after *start* up to and including *end*, in UTC and in order.

        So a row of calls, each beginning where the one before ended, yields every time once.

        Raises:
            UsageError: *start* has no time zone.
        """
        due = self.next(start)
        while due is not None and due <= end:
            yield due
            due = self.next(due)


class CronSchedule(Schedule, frozen=True):
    """Due when the clock of `timezone` shows a time that matches the fields of the spec."""

    fields: CronFields
    zone: ZoneInfo
    dst: Dst

    def next(self, after: datetime) -> datetime | None:
        found = next_instant(
            self.fields,
            self.zone,
            _whole_seconds(after) + 1,
            exactly_once=self.dst == "debian" and not self.fields.wildcard,
        )
        return None if found is None else _EPOCH + timedelta(seconds=found)


class Every(Schedule, frozen=True):
    """
    Due once in `period` seconds; zones and clock changes play no part.

    Anchored, the times are the multiples of the period since the Unix epoch: all who ask agree.
    Otherwise the next time is one period after the asking, cut to the second, as in asynq.
    """

    period: int
    anchored: bool

    def next(self, after: datetime) -> datetime | None:
        seconds = _whole_seconds(after)
        found = seconds + self.period - (seconds % self.period if self.anchored else 0)
        try:
            return _EPOCH + timedelta(seconds=found)
        except OverflowError:
            return None


class Limited(Schedule, frozen=True):
    """The due times of `inner` that are not before `start` and not after `end`; None is no limit."""

    inner: Schedule
    start: datetime | None
    end: datetime | None

    def next(self, after: datetime) -> datetime | None:
        _whole_seconds(after)
        if self.start is not None and after < self.start:
            after = self.start - timedelta(microseconds=1)
        found = self.inner.next(after)
        return None if found is None or (self.end is not None and found > self.end) else found


def parse(
    spec: str,
    *,
    timezone: str = "UTC",
    dst: str = "debian",
    anchored: bool = False,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Schedule:
    """
    Read a spec: five fields, six with the second first, `@daily` and its like, or `@every 1h30m`.

    Args:
        timezone: IANA name; a `TZ=Area/City ` or `CRON_TZ=Area/City ` before the spec goes first.

        dst: See Dst.

        anchored: Only for `@every`, see Every. Several schedulers need it to agree on the times.

        start, end: Nothing is due before the one and after the other.

    Raises:
        CronError: The message quotes the spec and names the field and what is wrong with it.
    """
    if dst not in get_args(Dst):
        raise CronError(f'unknown dst policy "{dst}"', hint='Use "debian" or "asynq".')
    try:
        schedule = _parse(spec, timezone, cast(Dst, dst), anchored)
    except CronError as problem:
        raise CronError(f'cron spec "{spec}": {problem}', hint=problem.hint) from None
    if start is None and end is None:
        return schedule
    return Limited(spec, schedule.timezone, schedule, start, end)


def _parse(spec: str, timezone: str, dst: Dst, anchored: bool) -> Schedule:
    if not spec:
        raise CronError("it is empty")
    body = spec
    if spec.startswith(("TZ=", "CRON_TZ=")):
        prefix, blank, rest = spec.partition(" ")
        if not blank:
            raise CronError(f'nothing follows the time zone prefix "{prefix}"')
        timezone, body = prefix.partition("=")[2], rest.strip()
    zone = _zone(timezone)
    if body.startswith(_EVERY):
        return Every(spec, timezone, _period(body.removeprefix(_EVERY)), anchored)
    if body.startswith("@") and body not in _DESCRIPTORS:
        raise CronError(
            f'unrecognized descriptor "{body}".{did_you_mean(body, _DESCRIPTORS)}',
            hint=f"Known are {', '.join(_DESCRIPTORS)} and @every DURATION.",
        )
    fields = parse_fields(_DESCRIPTORS.get(body, body))
    return CronSchedule(spec, timezone, fields, zone, dst)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    # A name may also lead outside the data base (ValueError) or to a folder in it (OSError).
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CronError(
            f'unknown time zone "{name}".{did_you_mean(name, available_timezones())}',
            hint="Use an IANA name such as UTC or Europe/Berlin.",
        ) from None


def _period(text: str) -> int:
    try:
        seconds = parse_go_duration(text)
    except InvalidDuration as problem:
        raise CronError(f"@every: {problem}", hint=problem.hint) from None
    # As robfig/cron: at least a second, and nothing finer.
    return max(1, int(seconds))


def _whole_seconds(moment: datetime) -> int:
    """Return the seconds since the Unix epoch, rounded down."""
    if moment.tzinfo is None:
        raise UsageError(f"{moment} has no time zone: pass an aware datetime")
    return (moment - _EPOCH) // timedelta(seconds=1)
