"""Wait until something has become true: for what sends no event of its own."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

_SHORTEST = 0.005
_LONGEST = 0.025
"""Seconds from one look to the next; in between, a twentieth of the time that was waited already."""


def eventually(predicate: Callable[[], T], within: float = 5.0) -> T:
    """
    Call `predicate` until its result is truthy, and return that; AssertionError after `within` s.

    What `predicate` raises passes through: "not yet" is said with a falsy result.
    """
    began = time.monotonic()
    while not (value := predicate()):
        waited = time.monotonic() - began
        if waited > within:
            raise AssertionError(f"not true within {within:g} s; the last value was {value!r}")
        time.sleep(_pause(waited))
    return value


@overload
async def aeventually(predicate: Callable[[], Awaitable[T]], within: float = ...) -> T: ...
@overload
async def aeventually(predicate: Callable[[], T], within: float = ...) -> T: ...
async def aeventually(predicate: Callable[[], Any], within: float = 5.0) -> Any:
    """`eventually` for async tests: the loop runs meanwhile, and `predicate` may be async."""
    began = time.monotonic()
    while True:
        outcome = predicate()
        value = await outcome if inspect.isawaitable(outcome) else outcome
        if value:
            return value
        waited = time.monotonic() - began
        if waited > within:
            raise AssertionError(f"not true within {within:g} s; the last value was {value!r}")
        await asyncio.sleep(_pause(waited))


def _pause(waited: float) -> float:
    return min(max(waited / 20, _SHORTEST), _LONGEST)
