"""
Which queues the next tasks are taken from.

A fetch takes several tasks at once, but the draw is made for each of them, so weights hold exactly
as if they were taken one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate


def strict_order(weights: Mapping[str, int]) -> list[str]:
    """Return the queues by falling weight; equal ones by name."""
    return sorted(weights, key=lambda name: (-weights[name], name))


def draw(weights: Mapping[str, int], count: int, random: Callable[[], float]) -> dict[str, int]:
    """
    Draw *count* times from the queues by weight; return how often each was drawn.

    A queue that turns out to have less is left out of the next draw. Taken together that is
    asynq's rule: the first queue of a weighted shuffle that is not empty.
    """
    if len(weights) == 1:
        return dict.fromkeys(weights, count)
    names = list(weights)
    bounds = list(accumulate(weights.values()))
    drawn: dict[str, int] = {}
    for _ in range(count):
        point = random() * bounds[-1]
        name = next(names[i] for i, bound in enumerate(bounds) if point < bound)
        drawn[name] = drawn.get(name, 0) + 1
    return drawn
