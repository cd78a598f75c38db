"""Whatever is killed or changed meanwhile: every tick of a periodic task comes, and comes once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import scene_changes, scene_cron
from tests.chaos.stage import SHORT, Stage

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]


def test_no_tick_is_missed_or_doubled_while_schedulers_are_killed(tmp_path: Path) -> None:
    with Stage(SHORT, 1, tmp_path) as stage:
        ticks, *_lateness = scene_cron.run(stage)
        assert ticks.ok, ticks.measured
        assert stage.broken() == []


def test_no_tick_is_missed_or_doubled_while_entries_and_daemons_change(tmp_path: Path) -> None:
    with Stage(SHORT, 1, tmp_path) as stage:
        (ticks,) = scene_changes.run(stage)
        assert ticks.ok, ticks.measured
        assert stage.broken() == []
