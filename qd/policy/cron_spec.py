"""
The fields of a cron spec: text in, sets of numbers out.

The grammar is that of robfig/cron v3, which asynq uses (its parser.go), and an optional field for
seconds in front. It is not quite that of crontab(5): Sunday is 0 and never 7, and `?` is a star.
Descriptors and time zones are read in `policy.cron`; when a set of fields is due is found in
`policy.cron_next`.
"""

from __future__ import annotations

import re

from msgspec import Struct, field

from qd.errors import CronError

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]


class _Field(Struct, frozen=True):
    name: str
    lowest: int
    highest: int
    names: dict[str, int] = field(default_factory=dict)
    hint: str = ""


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    _Field(
        "day of week",
        0,
        6,
        {name: number for number, name in enumerate(_WEEKDAYS)},
        "Sunday is 0 or SUN.",
    ),
)

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


class CronFields(Struct, frozen=True):
    """
    When a spec is due, as sets: bit n of a set stands for the number n.

    Sunday is weekday 0. With `both_days` a day must be in `days` and in `weekdays`, otherwise in
    one of them. `wildcard` marks specs such as "every ten minutes", which follow the time that
    passes; the others name fixed times of the day.
    """

    seconds: int
    minutes: int
    hours: int
    days: int
    months: int
    weekdays: int
    both_days: bool
    wildcard: bool


def parse_fields(text: str) -> CronFields:
    """
    Read five fields (minute, hour, day of month, month, day of week), or six with the second first.

    Raises:
        CronError: The message names the field and what is wrong with it.
    """
    texts = text.split()
    if len(texts) not in (5, 6):
        raise CronError(
            "expected 5 fields (minute, hour, day of month, month, day of week) or 6 with the"
            f" second first, found {len(texts)}"
        )
    first_position = len(texts) - 5
    if len(texts) == 5:
        texts.insert(0, "0")
    sets = []
    for position, (field_text, spec) in enumerate(zip(texts, _FIELDS, strict=True), first_position):
        try:
            sets.append(_parse_field(field_text, spec))
        except CronError as problem:
            raise CronError(
                f"field {position} ({spec.name}): {problem}", hint=problem.hint or spec.hint
            ) from None
    (
        (seconds, _),
        (minutes, _),
        (hours, _),
        (days, any_day),
        (months, _),
        (weekdays, any_weekday),
    ) = sets
    return CronFields(
        seconds,
        minutes,
        hours,
        days,
        months,
        weekdays,
        both_days=any_day or any_weekday,
        # As crontab(5) of Debian has it: a minute or hour that begins with a star, "*/2" too.
        wildcard=any(time_field.startswith(("*", "?")) for time_field in texts[:3]),
    )


def _parse_field(text: str, spec: _Field) -> tuple[int, bool]:
    """Return the set of a field, and whether it counts as a star."""
    members, star = 0, False
    for item in text.split(","):
        if item:  # robfig/cron ignores empty items, even when all of them are
            item_members, item_star = _parse_item(item, spec)
            members |= item_members
            star = star or item_star
    return members, star


def _parse_item(item: str, spec: _Field) -> tuple[int, bool]:
    """Read `*`, `V` or `V-V`, each with an optional `/STEP`."""
    span, *steps = item.split("/")
    if len(steps) > 1:
        raise CronError(f'more than one "/" in "{item}"')
    first, *last = span.split("-")
    star = first in ("*", "?")
    if star:
        # robfig/cron reads nothing after the hyphen of "*-5"; so the text may be anything.
        low, high = spec.lowest, spec.highest
    else:
        if len(last) > 1:
            raise CronError(f'more than one "-" in "{item}"')
        low = _value(first, item, spec)
        high = low
        if last:
            high = _value(last[0], item, spec)
        elif steps:
            high = spec.highest
    step = _integer(steps[0], item) if steps else 1
    if step < 1:
        raise CronError(f'the step in "{item}" is {step}: it must be 1 or more')
    if low > high:
        raise CronError(
            f'"{item}" begins after its end',
            hint='A range does not wrap around: write two, such as "22-23,0-5".',
        )
    members = 0
    for number in range(low, high + 1, step):
        members |= 1 << number
    # "*/2" restricts its field, and "5/1" is no star although it may mean all numbers.
    return members, star and step == 1


def _value(text: str, item: str, spec: _Field) -> int:
    number = spec.names.get(text.lower())
    if number is None:
        number = _integer(text, item)
    if number < spec.lowest:
        raise CronError(f"{number} is below the minimum {spec.lowest}")
    if number > spec.highest:
        raise CronError(f"{number} is above the maximum {spec.highest}")
    return number


def _integer(text: str, item: str) -> int:
    if _INTEGER.fullmatch(text):
        return int(text)
    if not text:
        raise CronError(f'a number is missing in "{item}"')
    where = "" if text == item else f' in "{item}"'
    raise CronError(f'"{text}"{where} is not a number', hint=_unsupported(text))


def _unsupported(text: str) -> str:
    if "#" in text or text.upper().endswith(("L", "W")):
        return "L, W and # of other crons are not supported."
    return ""
