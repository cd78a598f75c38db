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
        self._waiting: list[tuple[Composed, asyncio.Future[TaskInfo]]] = []
        self._sending: set[asyncio.Task[None]] = set()

    async def send(self, composed: Composed) -> TaskInfo:
        """Send one task; raises errors of Redis and refusals."""
        future: asyncio.Future[TaskInfo] = self.loop.create_future()
        if not self._waiting:
            self.loop.call_soon(self._flush)
        self._waiting.append((composed, future))
        return await future

    async def send_many(self, composed: Sequence[Composed]) -> list[TaskInfo | QdError]:
        """Send many tasks; returns an info or a refusal for each, in order."""
        out: list[TaskInfo | QdError] = []
        for start in range(0, len(composed), _BATCH):
            part = composed[start : start + _BATCH]
            order, answers = await self._ask(part)
            for answer in answers:
                if isinstance(answer, BrokerError):
                    raise answer
            out += self._results(part, order, answers)
        return out

    async def _ask(self, composed: Sequence[Composed]) -> tuple[list[list[int]], list[Any]]:
        ops, order = self._steps(composed, now_ns=time.time_ns())
        announced, *answers = await self._link.execute_each(ops)
        if isinstance(announced, BrokerError):
            raise announced
        return order, answers

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        task = self.loop.create_task(self._send(waiting))
        # The loop keeps only weak references to tasks.
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, waiting: list[tuple[Composed, asyncio.Future[TaskInfo]]]) -> None:
        for start in range(0, len(waiting), _BATCH):
            part = waiting[start : start + _BATCH]
            composed = [one for one, _ in part]
            outcomes: Sequence[TaskInfo | QdError | Exception]
            try:
                # Those who share a round trip have nothing else in common: each its own error.
                outcomes = self._results(composed, *await self._ask(composed))
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
        await self._link.close()
