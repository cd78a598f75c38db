"""What a scheduler makes up for after an outage, held against the ticks that a watched clock has."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import product

from qd.client.compose import Composer
from qd.client.declared import Declared
from qd.handlers.options import NO_OPTIONS
from qd.maintenance.entries import LATE, Entry
from tests.support.clock_oracle import expected, watch

_COMPOSER = Composer(NO_OPTIONS, queue_prefix="", payload_limit=1000)
MISSED = {"skip": 0, "once": 1, "all": 100, "all(3)": 3}
_OUTAGES = (61, 3 * 3600 + 7, 20 * 3600)
"""Seconds."""

_BACK = (-3600, 0, 4, 1800 + 11, 3600 + 2, 14 * 3600)
"""Seconds after the middle, at which outages end: before, at and after a change of the clock."""


def differences(zone: str, start: datetime, end: datetime) -> Iterator[str]:
    """Yield where qd would make up for other ticks than it should, after outages in this time."""
    table = expected(list(watch(zone, start, end)))
    middle = int((start + (end - start) / 2).timestamp())
    for (spec, dst), ticks in table.items():
        moments = [int(tick.timestamp()) for tick in ticks]
        for missed in MISSED:
            entry = _entry(zone, spec, dst, missed, start)
            for length, back in product(_OUTAGES, _BACK):
                now, last = middle + back, middle + back - length
                entry.decided(last, None)
                found = entry.due(float(now))
                wanted = due(missed, [tick for tick in moments if last < tick <= now], now)
                if found != wanted:
                    yield f"{spec} {dst} missed={missed}, {last} to {now}: {found}, not {wanted}"


def due(missed: str, passed: list[int], now: int) -> list[int]:
    """What is owed of the ticks that passed: those merely late always, the others by policy."""
    late = [tick for tick in passed if tick > int(now - LATE)]
    before = [tick for tick in passed if tick not in late]
    count = max(0, MISSED[missed] - len(late))
    return before[len(before) - min(count, len(before)) :] + late


def _entry(zone: str, spec: str, dst: str, missed: str, start: datetime) -> Entry:
    declared = Declared("job", spec, "demo", timezone=zone, dst=dst, missed=missed)
    return Entry(
        declared,
        _COMPOSER,
        queue_prefix="",
        timezone="UTC",
        options_of=lambda _type: NO_OPTIONS,
        now=start.timestamp(),
    )
