"""
qd and asynq do the same: random sequences on both, all keys compared after every step.

    QD_DIFF_OPS     how many operations (1,500); a seed makes them
                    always the same ones
    QD_DIFF_SEED    another seed

A failure shows the shortest sequence that was found, ready for `scenarios.py`.
"""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.compat.differential.alphabet import sequences
from tests.compat.differential.pair import Pair, Unexplained
from tests.compat.differential.scenarios import MIXED, ORDINARY

pytestmark = pytest.mark.compat

OPERATIONS = int(os.environ.get("QD_DIFF_OPS") or 1_500)
SEED = int(os.environ.get("QD_DIFF_SEED") or 0)

_PER_SEQUENCE = 35
_PER_ROUND = 100
"""Sequences from one seed: Hypothesis remembers them all, to repeat none."""


@pytest.mark.timeout(60 + OPERATIONS / 50)
def test_random_sequences_leave_the_same_in_both_databases(
    both: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    before, started, rounds = both.operations, time.monotonic(), 0
    while (left := OPERATIONS - (both.operations - before)) > 0:
        _round(both, SEED + rounds, min(_PER_ROUND, -(-left // _PER_SEQUENCE)))
        rounds += 1
    done, took = both.operations - before, time.monotonic() - started
    with capsys.disabled():
        print(
            f"\ndifferential: {done:,} operations ({done / took:,.0f}/s), "
            "0 unexplained differences",
            end="",
        )


def _round(both: Pair, number: int, examples: int) -> None:
    # Hypothesis shrinks for minutes: it would try to make every option simpler as well.
    @seed(number)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
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
