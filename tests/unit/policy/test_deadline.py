"""Timeout and deadline become one moment."""

from __future__ import annotations

import pytest

from qd.policy.deadline import deadline_of

NOW = 1_000_000.5


@pytest.mark.parametrize(
    ("timeout", "deadline", "moment"),
    [
        (60, 0, NOW + 60),
        (0, 1_000_100, 1_000_100),
        (60, 1_000_100, NOW + 60),
        (600, 1_000_100, 1_000_100),
        (600, 999_000, 999_000),
        (0, 0, NOW + 1800),
        (-5, 0, NOW - 5),
    ],
)
def test_the_earlier_one_counts(timeout: int, deadline: int, moment: float) -> None:
    assert deadline_of(timeout, deadline, NOW) == moment
