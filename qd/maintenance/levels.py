"""Looks how full bounded queues are: while nobody enqueues, nobody else would see them get empty."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from qd import clock
from qd.broker.async_link import AsyncLink
from qd.client.room import QueueBounds
from qd.maintenance.each_queue import EachQueue
from qd.protocol.ops import pressure
from qd.service import Service


class Levels:
    """The loop. *interval* is in seconds."""

    def __init__(
        self, link: AsyncLink, queues: Sequence[str], bounds: QueueBounds, *, interval: float
    ) -> None:
        self._link = link
        self._bounds = bounds
        self._interval = interval
        bounded = [queue for queue in queues if bounds.of(queue) is not None]
        self._each = EachQueue(link, bounded, logging.getLogger("qd.backpressure"))
        self._service = Service("levels", lambda: self.step(clock.now()))

    def start(self) -> None:
        self._service.start()

    async def stop(self) -> None:
        await self._service.stop()

    async def step(self, now: float) -> float:
        """Note the level of each queue, tell of changes; returns the seconds until the next step."""
        await self._each.run(lambda queue: self._look(queue, int(now)))
        return self._interval

    async def _look(self, queue: str, now: int) -> None:
        rule = self._bounds.of(queue)
        assert rule is not None  # noqa: S101 - others were left out
        seen = await self._link.execute(pressure.look(queue, rule.marks, now=now))
        self._bounds.note(queue, rule, seen)
