"""
Calls tasks that wait at a limit once they can go: as the bucket fills, and where nobody else did.

Sleeps until somebody can go; Redis tells of those who come to wait (`tracking`). Where it does not,
the limits are looked at ten times a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from qd.broker.endpoint import Endpoint
from qd.client.calling import bring
from qd.errors import BrokerError, BrokerUnavailable
from qd.maintenance.counters import Counters
from qd.maintenance.each_queue import Troubles
from qd.maintenance.tracking import Tracking
from qd.protocol.ops import limits
from qd.protocol.ops.limits import Bounds
from qd.service import Service

_LOOK = 10.0
"""Seconds after which all limits are looked at even without news: a message may have been lost."""

_LOOK_OFTEN = 0.1

_SETTLE = 0.01
"""Seconds after news before looking: tasks end in swarms, and one look serves many."""

_AFTER_TROUBLE = 2.0


class Caller:
    """The loop for some limits. *counts* is added to."""

    def __init__(self, endpoint: Endpoint, bounds: Sequence[Bounds], counts: Counters) -> None:
        self.bounds = bounds
        self._counts = counts
        self._news: asyncio.TimerHandle | None = None
        self._log = logging.getLogger("qd.limits")
        self._troubles = Troubles(self._log)
        self._tracking = Tracking(
            endpoint,
            self._on_change,
            log=self._log,
            otherwise="tasks that wait at limits are looked for ten times a second",
        )
        self._service = Service("caller", self.step)

    def start(self) -> None:
        if self.bounds:
            self._service.start()

    async def stop(self) -> None:
        await self._service.stop()
        if self._news is not None:
            self._news.cancel()
        await self._tracking.close()

    async def step(self) -> float:
        """Call who can go; returns the seconds until the next can."""
        # Asked to be told first, then looked: what changes in between is news.
        await self._tracking.read_each([limits.due(one.name) for one in self.bounds])
        pause = _LOOK if self._tracking.active else _LOOK_OFTEN
        for one in self.bounds:
            try:
                pause = min(pause, await self._look(one))
                self._troubles.well(f"the limit {one.name}")
            except BrokerUnavailable:
                raise
            except BrokerError as error:
                self._troubles.failed(f"the limit {one.name}", error)
                pause = min(pause, _AFTER_TROUBLE)
        return pause

    async def _look(self, bounds: Bounds) -> float:
        link = await self._tracking.link()
        pause, called = await link.execute(limits.look(bounds))
        self._counts.called += await bring(link, bounds, called)
        return _LOOK if pause is None else pause

    def _on_change(self, _changed: list[str] | None) -> None:
        if self._news is None:
            self._news = asyncio.get_running_loop().call_later(_SETTLE, self._tell)

    def _tell(self) -> None:
        self._news = None
        self._service.wake()
