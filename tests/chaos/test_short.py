"""
Each scene in its short profile. Counts are judged here: what was lost, doubled, archived, charged.

How long something took, and how much was done in a second, is printed by `make chaos` and fails no
test: machines differ.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.chaos.__main__ import SCENES, SERVER_ARGS
from tests.chaos.stage import SHORT, Measure, Stage

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]

# These have tests of their own: test_ticks.py, test_failpoints.py; the last two in tests/maintenance.
ELSEWHERE = {"cron", "changes", "failpoints", "away", "standstill"}


@pytest.mark.parametrize("name", [name for name in SCENES if name not in ELSEWHERE])
def test_nothing_is_lost_doubled_or_blamed(name: str, tmp_path: Path) -> None:
    with Stage(SHORT, 1, tmp_path, *SERVER_ARGS.get(name, ())) as stage:
        measures = SCENES[name](stage)
        assert stage.broken() == []
    missed = [one for one in measures if one.ok is False and not is_excused(one)]
    assert missed == []


def is_excused(measure: Measure) -> bool:
    # A handler may have ended while its answer was on its way: more starts, each explained by a kill.
    explained = measure.name.endswith("extra starts") and ", 0 unexplained" in measure.measured
    is_a_time_or_rate = re.search(r"\d (ms|s|per s)\b", measure.target) is not None
    return explained or is_a_time_or_rate
