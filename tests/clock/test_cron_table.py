"""
Eight zones, twenty years: schedules are due when a clock says so that was watched, and as cronsim says.

Here the days around each change of a clock; `make clock` watches every minute of all the years.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from qd.policy.cron import parse
from tests.support.clock_oracle import FIRST_YEAR, YEARS, ZONES, changes, expected, watch
from tests.support.misfire_oracle import differences

AROUND = timedelta(hours=36)


@pytest.mark.parametrize("zone", ZONES)
def test_around_every_change_of_twenty_years_it_is_due_when_the_clock_says(zone: str) -> None:
    for change in changes(zone):
        start, end = change - AROUND, change + AROUND
        for (spec, dst), due in expected(list(watch(zone, start, end))).items():
            found = list(parse(spec, timezone=zone, dst=dst).between(start, end))
            assert found == due, (spec, dst, change)


@pytest.mark.parametrize("zone", ZONES)
def test_around_a_change_missed_ticks_are_made_up_for_as_the_policy_says(zone: str) -> None:
    for change in changes(zone)[-4:]:
        assert not list(differences(zone, change - AROUND, change + AROUND)), change


def by_cronsim(spec: str, zone: str, start: datetime, end: datetime) -> Iterator[datetime]:
    times = CronSim(spec, start.astimezone(ZoneInfo(zone)))
    return takewhile(lambda due: due <= end, (due.astimezone(UTC) for due in times))


@pytest.mark.parametrize("zone", ZONES)
def test_through_twenty_years_cronsim_finds_the_same_times(zone: str) -> None:
    start = datetime(FIRST_YEAR, 1, 1, 12, tzinfo=UTC)
    end = datetime(FIRST_YEAR + YEARS, 1, 1, 12, tzinfo=UTC)
    specs = ["30 2 * * *", "0 0 * * *", "45 23 * * 6", "59 1 13 * 0", "10 2 */2 3,10 *"]
    if zone != "Australia/Lord_Howe":
        # cronsim adds whole hours there, and is then half an hour off until midnight.
        # Most changes are at a weekend; those days are a third of cronsim's work.
        specs.append("0 */6 * * 0,6")
    for spec in specs:
        found = list(parse(spec, timezone=zone).between(start, end))
        assert found == list(by_cronsim(spec, zone, start, end)), spec
