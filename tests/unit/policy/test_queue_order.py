"""Which queues the next tasks are taken from."""

from __future__ import annotations

from random import Random

import pytest

from qd.policy.queue_order import draw, strict_order

WEIGHTS = {"critical": 6, "default": 3, "low": 1}


def test_strict_order_is_by_weight_then_by_name() -> None:
    assert strict_order({"b": 1, "a": 1, "c": 9}) == ["c", "a", "b"]
    assert strict_order({}) == []


def test_a_single_queue_is_drawn_without_chance() -> None:
    def never() -> float:
        raise AssertionError("no random number is needed")

    assert draw({"only": 3}, 10, never) == {"only": 10}


def chi_square(drawn: dict[str, int], weights: dict[str, int]) -> float:
    count, total = sum(drawn.values()), sum(weights.values())
    wanted = {name: count * weight / total for name, weight in weights.items()}
    return sum((drawn.get(name, 0) - wanted[name]) ** 2 / wanted[name] for name in weights)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    "weights", [WEIGHTS, {"a": 1, "b": 1}, {str(n): n for n in range(1, 9)}], ids=len
)
def test_draws_are_fair(weights: dict[str, int], seed: int) -> None:
    random = Random(seed).random
    drawn: dict[str, int] = {}
    for _ in range(500):
        for name, count in draw(weights, 20, random).items():
            drawn[name] = drawn.get(name, 0) + count
    assert sum(drawn.values()) == 10_000
    # Chance alone goes beyond this bound in one of ten thousand draws (7 degrees of freedom).
    assert chi_square(drawn, weights) < 29.9


@pytest.mark.parametrize(("point", "name"), [(0.0, "critical"), (0.6, "default"), (0.9999, "low")])
def test_a_number_falls_to_the_queue_whose_share_it_is_in(point: float, name: str) -> None:
    assert draw(WEIGHTS, 2, lambda: point) == {name: 2}


def test_a_queue_without_weight_is_never_drawn() -> None:
    assert draw({"off": 0, "on": 1}, 5, lambda: 0.0) == {"on": 5}
