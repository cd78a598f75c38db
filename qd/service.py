"""
A loop that runs beside others in one process: how all of them start, survive errors and stop.

A service does one thing again and again. Redis away is said once and once more when it is back; it
never ends a service. Anything unexpected is logged with its traceback, and the loop goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from qd.errors import BrokerError

_LONGEST_BACKOFF = 2.0


class Service:
    """
    Runs `step` until stopped. *step* does its work and returns the seconds until the next one.

    `wake()` makes the next step start at once. Starting or stopping twice does nothing more.
    """

    def __init__(self, name: str, step: Callable[[], Awaitable[float]]) -> None:
        self.name = name
        self._step = step
        self._woken = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._log = logging.getLogger(f"qd.{name}")

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=self.name)

    def wake(self) -> None:
        """Run the next step now."""
        self._woken.set()

    async def stop(self) -> None:
        """Let the step that is under way end, then stop."""
        self._stopping = True
        self._woken.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        failures = 0
        while not self._stopping:
            self._woken.clear()
            try:
                pause = await self._step()
                if failures:
                    self._log.info("%s goes on: Redis answers again", self.name)
                failures = 0
            except BrokerError as error:
                if not failures:
                    self._log.warning("%s waits: %s", self.name, error)
                failures += 1
                pause = min(0.1 * 2 ** min(failures, 8), _LONGEST_BACKOFF)
            except Exception:  # noqa: BLE001 - see the comment
                # The one place where a loop survives its own faults; each is told in full.
                self._log.exception("%s failed, and goes on", self.name)
                failures += 1
                pause = _LONGEST_BACKOFF
            try:
                async with asyncio.timeout(max(pause, 0)):
                    await self._woken.wait()
            except TimeoutError:
                pass
