"""
Merges what coroutines of one process enqueue in the same turn of the loop into one round trip.

Nothing waits for company: what is there when the loop comes round goes out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qd import clock
from qd.broker.async_link import AsyncLink
from qd.client.batch import Batch
from qd.client.compose import Composed
from qd.client.info import TaskInfo
from qd.errors import QdError

if TYPE_CHECKING:
    from qd.client.room import QueueBounds
    from qd.client.waiting import Waiting

_MOST = 500
"""Tasks in one script call; more would hold the server for milliseconds."""


class Batcher:
    """Sends composed tasks over one link of one event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        link: AsyncLink,
        waiting: Waiting | None,
        bounds: QueueBounds | None = None,
    ) -> None:
        self._loop = loop
        self.link = link
        self._for_ends = waiting
        self._bounds = bounds
        self._waiting: list[tuple[Composed, asyncio.Future[TaskInfo]]] = []
        self._sending: set[asyncio.Task[None]] = set()

    async def send(self, composed: Composed) -> TaskInfo:
        """Send one task; raises errors of Redis and refusals."""
        future: asyncio.Future[TaskInfo] = self._loop.create_future()
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append((composed, future))
        return await future

    async def send_batch(self, batch: Batch) -> list[TaskInfo | QdError]:
        """Send a batch by itself; raises errors of Redis as a whole, returns outcomes in order."""
        answers = await self.link.execute_each(batch.ops)
        return batch.outcomes(answers, self._for_ends)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        task = self._loop.create_task(self._send(waiting))
        # The loop keeps only weak references to tasks.
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, waiting: list[tuple[Composed, asyncio.Future[TaskInfo]]]) -> None:
        for start in range(0, len(waiting), _MOST):
            part = waiting[start : start + _MOST]
            batch = Batch([one for one, _ in part], now_ns=clock.now_ns(), bounds=self._bounds)
            outcomes: Sequence[TaskInfo | QdError | Exception]
            try:
                # Those who share a round trip have nothing else in common: each its own error.
                answers = await self.link.execute_each(batch.ops)
                outcomes = batch.outcomes(answers, self._for_ends)
            except Exception as error:  # noqa: BLE001 - somebody waits for each of them
                outcomes = [error] * len(part)
            for (_, future), outcome in zip(part, outcomes, strict=True):
                if future.done():
                    continue
                if isinstance(outcome, Exception):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)

    async def close(self) -> None:
        """Send what waits, then close the link."""
        self._flush()
        if self._sending:
            await asyncio.gather(*self._sending, return_exceptions=True)
        await self.link.close()
