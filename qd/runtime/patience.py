"""How long stopping waits for Redis: until its time is over, or somebody is in a hurry."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from qd.errors import BrokerUnavailable

T = TypeVar("T")

_PAUSE = 0.1
"""Seconds between two tries."""


class Patience:
    """Ends for good with `hurry`. Times are those of the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._hurried = asyncio.Event()

    def hurry(self) -> None:
        """Wait no longer."""
        self._hurried.set()

    async def wait(self, what: Coroutine[Any, Any, None], until: float) -> None:
        """Do something until it is done or patience ends; it is cancelled then."""
        tasks = [asyncio.ensure_future(one) for one in (what, self._hurried.wait())]
        left = max(until - self._loop.time(), 0.0)
        await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()

    async def repeat(self, step: Callable[[], Awaitable[T]], until: float) -> T:
        """
        Return what *step* returns, at least one try; while Redis is away, it is tried again.

        Raises:
            BrokerUnavailable: Redis was still away when patience ended.
        """
        while True:
            try:
                return await step()
            except BrokerUnavailable:
                if self._hurried.is_set() or self._loop.time() >= until:
                    raise
            await self.wait(asyncio.sleep(_PAUSE), until)
