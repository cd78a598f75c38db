"""
Merges what coroutines of one process enqueue in the same turn of the loop into one round trip.

Nothing waits for company: what is there when the loop comes round goes out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from qd.broker.async_link import AsyncLink
from qd.client.compose import Composed
from qd.client.info import TaskInfo
from qd.errors import BrokerError, QdError
from qd.protocol.op import Op

Steps = Callable[..., tuple[list[Op[Any]], list[list[int]]]]
Results = Callable[..., list[TaskInfo | QdError]]

_BATCH = 500


class Batcher:
    """Sends composed tasks over one link of one event loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, link: AsyncLink, steps: Steps, results: Results
    ) -> None:
        self.loop = loop
        self._link = link
        self._steps = steps
        self._results = results
        self._waiting: list[tuple[Composed, asyncio.Future[TaskInfo | QdError]]] = []
        self._sending: set[asyncio.Task[None]] = set()

    async def send(self, composed: Composed) -> TaskInfo | QdError:
        """Send one task; errors of Redis are raised, refusals returned."""
        future: asyncio.Future[TaskInfo | QdError] = self.loop.create_future()
        if not self._waiting:
            self.loop.call_soon(self._flush)
        self._waiting.append((composed, future))
        return await future

    async def send_many(self, composed: Sequence[Composed]) -> list[TaskInfo | QdError]:
        """Send many tasks; returns an info or a refusal for each, in order."""
        out: list[TaskInfo | QdError] = []
        for start in range(0, len(composed), _BATCH):
            part = composed[start : start + _BATCH]
            ops, order = self._steps(part, now_ns=time.time_ns())
            out += self._results(part, order, (await self._link.execute_many(ops))[1:])
        return out

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        task = self.loop.create_task(self._send(waiting))
        # The loop keeps only weak references to tasks.
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(
        self, waiting: list[tuple[Composed, asyncio.Future[TaskInfo | QdError]]]
    ) -> None:
        try:
            outcomes = await self.send_many([composed for composed, _ in waiting])
        except BrokerError as error:
            for _, future in waiting:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), outcome in zip(waiting, outcomes, strict=True):
            if not future.done():
                future.set_result(outcome)

    async def close(self) -> None:
        if self._sending:
            await asyncio.gather(*self._sending, return_exceptions=True)
        await self._link.close()
