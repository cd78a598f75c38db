"""
qd and asynq do the same: random sequences on both, all keys compared after every step.

    COMPAT_OPERATIONS  how many operations (10,000; `make compat`: 100,000)
    COMPAT_SEED        other sequences; a seed makes always the same ones

A failure shows the shortest sequence that was found, ready for `scenarios.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.compat.differential.alphabet import KINDS, sequences
from tests.compat.differential.pair import Pair, Unexplained
from tests.compat.differential.scenarios import MIXED, ORDINARY

pytestmark = pytest.mark.compat

OPERATIONS = int(os.environ.get("COMPAT_OPERATIONS") or 10_000)
_ENOUGH = 10_000
"""From so many on, each kind of operation must have changed something in every share."""
SEED = int(os.environ.get("COMPAT_SEED") or 0)

_SHARES = 2
"""Tests that do a part each, side by side under xdist."""
_PER_SEQUENCE = 35
_PER_ROUND = 30
"""Sequences from one seed: Hypothesis remembers them all, and makes the later ones like the earlier."""


@pytest.mark.timeout(60 + OPERATIONS / 25)
@pytest.mark.parametrize("share", range(_SHARES))
def test_random_sequences_leave_the_same_in_both_databases(
    both: Pair, share: int, record_property: Callable[[str, object], None]
) -> None:
    before, both.changed, rounds, found = both.operations, set(), 0, 1
    try:
        while (left := OPERATIONS // _SHARES - (both.operations - before)) > 0:
            number = (SEED * _SHARES + share) * 1_000_000 + rounds
            _round(both, number, min(_PER_ROUND, -(-left // _PER_SEQUENCE)))
            rounds += 1
        found = 0
    finally:
        record_property("differential test, random operations", both.operations - before)
        record_property("differential test, unexplained differences", found)
    left_out = KINDS - both.changed
    assert not left_out or OPERATIONS < _ENOUGH, "never done, or only in vain"


def _round(both: Pair, number: int, examples: int) -> None:
    # Hypothesis shrinks for minutes: it would try to make every option simpler as well.
    @seed(number)
    @settings(
        max_examples=examples,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(sequences)
    def run(ops: list[dict[str, Any]]) -> None:
        if found := _failure(both, ops):
            raise _shortest(both, ops) or found

    run()


def _shortest(both: Pair, ops: list[dict[str, Any]]) -> Unexplained | None:
    """The failure of what is left when every step is left out that it does not need."""
    size = len(ops)
    while size := size // 2:
        start = 0
        while start < len(ops):
            fewer = ops[:start] + ops[start + size :]
            if _failure(both, fewer):
                ops = fewer
            else:
                start += size
    return _failure(both, ops)


def _failure(both: Pair, ops: list[dict[str, Any]]) -> Unexplained | None:
    try:
        both.run(ops)
    except Unexplained as error:
        return error
    return None


@pytest.mark.parametrize("name", ORDINARY)
def test_what_tasks_usually_go_through(both: Pair, name: str) -> None:
    assert len(both.run(ORDINARY[name])) == len(ORDINARY[name])


@pytest.mark.parametrize("name", MIXED)
def test_go_servers_and_qd_share_a_database(both: Pair, name: str) -> None:
    assert len(both.run(MIXED[name])) == len(MIXED[name])
