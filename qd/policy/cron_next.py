"""
Find when cron fields are due next, in the calendar and through changes of the clock.

Own arithmetic, because no library has the rules we need together: robfig/cron's rule for the two
day fields, local times that a clock change skips or repeats, and specs that are never due. An
instant is a number of seconds since the Unix epoch. A local time ("wall") is such a number too,
counted as if the zone were UTC; so what a clock change skips or repeats is a range of numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from qd.policy.cron_spec import CronFields

_DAY = 86_400
_EPOCH_DAY = date(1970, 1, 1).toordinal()

# As robfig/cron: 30 February is given up, and so is 29 February from 2097 to 2103.
_YEARS = 5
# Python's calendar ends with 9999, and the search looks at the whole year after its last one.
_LAST_YEAR = 9997


def next_instant(
    fields: CronFields, zone: ZoneInfo, start: int, *, exactly_once: bool
) -> int | None:
    """
    Return the first instant, not before *start*, at which *fields* are due in *zone*.

    None if there is none until the end of the fifth year after *start*.

    Args:
        exactly_once:
            True if a clock change neither drops nor doubles anything: a local time that comes
            twice is due the first time, and local times that are skipped are due together at the
            first instant after the jump. False if a local time is due as often as the clock
            shows it.
    """
    if start >= _year_start(_LAST_YEAR + 1):
        return None
    shown = None  # how far the clock has come: it has shown, or skipped, everything before
    last_year = min(_year(start + _offset(zone, start)) + _YEARS, _LAST_YEAR)
    end = _year_start(last_year + 1)
    for begin, until, offset in _stretches(zone, start, last_year):
        if until > start:
            wall = max(begin, start) + offset
            if exactly_once and shown is not None:
                # Shown up to 02:00, and now it is 03:00: the range between has been skipped.
                if begin >= start and first_wall(fields, shown, begin + offset) is not None:
                    return begin
                wall = max(wall, shown)
            found = first_wall(fields, wall, min(until + offset, end))
            if found is not None:
                return found - offset
        shown = until + offset if shown is None else max(shown, until + offset)
    return None


def first_wall(fields: CronFields, start: int, stop: int) -> int | None:
    """Return the first local time in [start, stop) that matches, clock changes left aside."""
    if start >= stop:
        return None
    first_day, second = divmod(start, _DAY)
    last_day = (stop - 1) // _DAY
    day = _next_day(fields, first_day, last_day)
    time_of_day = _next_time_of_day(fields, second if day == first_day else 0)
    if day == first_day and time_of_day is None:
        day = _next_day(fields, first_day + 1, last_day)
        time_of_day = _next_time_of_day(fields, 0)
    if day is None or time_of_day is None:
        return None
    wall = day * _DAY + time_of_day
    return wall if wall < stop else None


def clock_changes(zone: ZoneInfo, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the changes of a zone's offset in [start, end): instant, offset before it, and after."""
    for year in range(_year(start), _year(end) + 1):
        for instant, offset in _changes(zone, year):
            if start <= instant < end:
                yield instant, _offset(zone, instant - 1), offset


def _next_day(fields: CronFields, first: int, last: int) -> int | None:
    """Return the first matching day in [first, last], days counted from the Unix epoch."""
    if first > last:
        return None
    from_date = date.fromordinal(_EPOCH_DAY + first)
    year, month, day = from_date.year, from_date.month, from_date.day
    while True:
        first_of_month = date(year, month, 1)
        if first_of_month.toordinal() - _EPOCH_DAY > last:
            return None
        if fields.months >> month & 1:
            day = _lowest(_days_of_month(fields, first_of_month), day)
            if day > 0:
                found = first_of_month.toordinal() - _EPOCH_DAY + day - 1
                return found if found <= last else None
        year, month, day = (year, month + 1, 1) if month < 12 else (year + 1, 1, 1)


def _days_of_month(fields: CronFields, first: date) -> int:
    """Return the matching days of the month that begins on *first*, as a set."""
    weekday = first.isoweekday() % 7  # Sunday is 0, as in the spec
    week = (fields.weekdays >> weekday | fields.weekdays << (7 - weekday)) & 0b1111111
    by_weekday = (week | week << 7 | week << 14 | week << 21 | week << 28) << 1
    days = fields.days & by_weekday if fields.both_days else fields.days | by_weekday
    length = ((first + timedelta(days=31)).replace(day=1) - first).days
    return days & ((2 << length) - 2)


def _next_time_of_day(fields: CronFields, start: int) -> int | None:
    """Return the first matching second of a day, from *start* on."""
    # A set may be empty: robfig/cron accepts a field of commas, and it is never due.
    earliest_second, earliest_minute = _lowest(fields.seconds), _lowest(fields.minutes)
    if earliest_second < 0 or earliest_minute < 0:
        return None
    minute_of_day, second = divmod(start, 60)
    hour, minute = divmod(minute_of_day, 60)
    if fields.hours >> hour & 1:
        if fields.minutes >> minute & 1:
            found = _lowest(fields.seconds, second)
            if found >= 0:
                return hour * 3600 + minute * 60 + found
        found = _lowest(fields.minutes, minute + 1)
        if found >= 0:
            return hour * 3600 + found * 60 + earliest_second
    found = _lowest(fields.hours, hour + 1)
    if found >= 0:
        return found * 3600 + earliest_minute * 60 + earliest_second
    return None


def _lowest(members: int, start: int = 0) -> int:
    """Return the lowest member of a set that is not below *start*, or -1."""
    rest = members >> start << start
    return (rest & -rest).bit_length() - 1


def _stretches(zone: ZoneInfo, start: int, last_year: int) -> Iterator[tuple[int, int, int]]:
    """
    Yield (begin, until, offset): times of one offset, without holes, until past *last_year*.

    They begin two days before *start*: a change of the clock repeats a day at the most, so what
    it repeats after *start* was shown within that time.
    """
    begin = start - 2 * _DAY
    offset = _offset(zone, begin)
    for year in range(_year(begin), last_year + 2):
        for instant, new_offset in _changes(zone, year):
            if instant > begin:
                yield begin, instant, offset
                begin, offset = instant, new_offset
        year_end = _year_start(year + 1)
        if year_end > begin:
            # Cut here, or a zone without changes would be searched to the last year at once.
            yield begin, year_end, offset
            begin = year_end


@lru_cache(maxsize=512)
def _changes(zone: ZoneInfo, year: int) -> tuple[tuple[int, int], ...]:
    """
    Return the changes of a zone's offset in a year of UTC as (first instant, new offset).

    zoneinfo does not tell them, so every day is looked at. No zone has changed twice within a
    day; since 1970 the two nearest changes are a week apart.
    """
    changes = []
    at, end = _year_start(year), _year_start(year + 1)
    offset = _offset(zone, at)
    while at < end:
        following = at + _DAY
        new_offset = _offset(zone, following)
        if new_offset != offset:
            changes.append((_change_between(zone, at, following), new_offset))
        at, offset = following, new_offset
    return tuple(changes)


def _change_between(zone: ZoneInfo, before: int, after: int) -> int:
    """Return the first instant with another offset than *before* has; *after* has another one."""
    offset = _offset(zone, before)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(zone, middle) == offset:
            before = middle
        else:
            after = middle
    return after


def _offset(zone: ZoneInfo, instant: int) -> int:
    """Return the seconds by which the zone's clock is ahead of UTC."""
    # None is for times without a zone; timedelta() is only there for the type checker's sake.
    offset = datetime.fromtimestamp(instant, zone).utcoffset() or timedelta()
    return offset.days * _DAY + offset.seconds


def _year(seconds: int) -> int:
    return date.fromordinal(_EPOCH_DAY + seconds // _DAY).year


def _year_start(year: int) -> int:
    return (date(year, 1, 1).toordinal() - _EPOCH_DAY) * _DAY
