"""Wait until something has become true: for what sends no event of its own."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

_POLL_SECONDS = 0.005


def eventually(predicate: Callable[[], T], within: float = 5.0) -> T:
    """
    Call `predicate` until its result is truthy, and return that; AssertionError after `within` s.

    What `predicate` raises passes through: "not yet" is said with a falsy result.
    """
    deadline = time.monotonic() + within
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {within:g} s; the last value was {value!r}")
        time.sleep(_POLL_SECONDS)
    return value


@overload
async def aeventually(predicate: Callable[[], Awaitable[T]], within: float = ...) -> T: ...
@overload
async def aeventually(predicate: Callable[[], T], within: float = ...) -> T: ...
async def aeventually(predicate: Callable[[], Any], within: float = 5.0) -> Any:
    """`eventually` for async tests: the loop runs meanwhile, and `predicate` may be async."""
    deadline = time.monotonic() + within
    while True:
        outcome = predicate()
        value = await outcome if inspect.isawaitable(outcome) else outcome
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {within:g} s; the last value was {value!r}")
        await asyncio.sleep(_POLL_SECONDS)
