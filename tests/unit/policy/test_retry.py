"""How long to wait before the next attempt."""

from __future__ import annotations

from random import Random

import pytest

from qd.policy.retry import RetryKind, RetryPolicy


def half() -> float:
    return 0.5


def delays(policy: RetryPolicy, count: int) -> list[float]:
    return [policy.delay(retried, half) for retried in range(count)]


def test_by_default_the_delay_doubles_from_a_second_to_an_hour() -> None:
    found = delays(RetryPolicy(), 40)
    assert found[:6] == [1, 2, 4, 8, 16, 32]
    assert found[11:14] == [2048, 3600, 3600]
    assert max(found) == 3600


def test_a_fixed_delay_stays() -> None:
    assert delays(RetryPolicy(RetryKind.FIXED, initial=5), 3) == [5, 5, 5]


def test_the_last_of_a_list_holds_for_ever() -> None:
    policy = RetryPolicy(RetryKind.LIST, delays=(1, 10, 60))
    assert delays(policy, 5) == [1, 10, 60, 60, 60]


@pytest.mark.parametrize("retried", [0, 1, 2, 5, 25])
def test_asynqs_formula(retried: int) -> None:
    policy = RetryPolicy(RetryKind.ASYNQ)
    lowest, highest = retried**4 + 15, retried**4 + 15 + 29 * (retried + 1)
    assert policy.delay(retried, lambda: 0.0) == lowest
    assert policy.delay(retried, lambda: 0.999999) == highest
    random = Random(7).random
    assert {(policy.delay(retried, random) - lowest) / (retried + 1) for _ in range(2000)} == set(
        map(float, range(30))
    )


@pytest.mark.parametrize("factor", [1.0, 1.5, 2.0, 1e6, 1e30])
@pytest.mark.parametrize("retried", [64, 1000, 2**31 - 1])
def test_a_large_counter_or_factor_gives_the_longest_delay(factor: float, retried: int) -> None:
    policy = RetryPolicy(factor=factor, longest=3600)
    assert policy.delay(retried, half) == (1.0 if factor == 1.0 else 3600.0)


def test_a_small_factor_reaches_the_longest_delay_too() -> None:
    assert RetryPolicy(factor=1.1, longest=3600).delay(200, half) == 3600


def test_jitter_spreads_a_delay_evenly_either_way() -> None:
    policy = RetryPolicy(RetryKind.FIXED, initial=100, jitter=0.1)
    assert policy.delay(0, lambda: 0.0) == pytest.approx(90)
    assert policy.delay(0, half) == pytest.approx(100)
    random = Random(7).random
    found = [policy.delay(0, random) for _ in range(4000)]
    assert 90 <= min(found) < 90.1
    assert 109.9 < max(found) < 110
    assert sum(found) / len(found) == pytest.approx(100, abs=0.3)
