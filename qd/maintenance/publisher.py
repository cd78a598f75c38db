"""Shows this scheduler's periodic tasks to asynq's tools: `asynq cron ls`, asynqmon, `qd cron`."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from qd import clock
from qd.broker.async_link import AsyncLink
from qd.errors import BrokerError
from qd.maintenance.entries import Entry
from qd.protocol.ops import presence
from qd.service import Service

_UNSETTLED = 1.0


class Publisher:
    """
    The loop; what it shows are *entries*, until `show` names others. *heartbeat* is in seconds.

    A clean stop takes the entries off the list. Their history stays, for an entry keeps its id.
    """

    def __init__(
        self, link: AsyncLink, scheduler_id: str, entries: Sequence[Entry], *, heartbeat: float
    ) -> None:
        self._link = link
        self._scheduler_id = scheduler_id
        self._entries = list(entries)
        self._listed = False
        self._heartbeat = heartbeat
        self._ttl = math.ceil(2 * heartbeat)
        self._log = logging.getLogger("qd.publisher")
        self._service = Service("publisher", lambda: self.step(clock.now()))

    def start(self) -> None:
        self._service.start()

    def show(self, entries: Sequence[Entry]) -> None:
        """Show these from now on."""
        self._entries = list(entries)
        self._service.wake()

    async def stop(self) -> None:
        await self._service.stop()
        try:
            await self._clear()
        except BrokerError as error:
            self._log.warning("the schedule is listed %d s longer: %s", self._ttl, error)

    async def step(self, now: float) -> float:
        """Show the entries as they are at *now*; returns the seconds until the next time."""
        if not self._entries:
            await self._clear()
            return self._heartbeat
        settled = all(entry.last is not None for entry in self._entries)
        entries = [entry.published() for entry in self._entries]
        documents = [entry.document() for entry in self._entries]
        self._listed = True
        await self._link.execute_many(
            presence.write_entries(
                self._scheduler_id, entries, documents, now=int(now), ttl=self._ttl
            )
        )
        # Until the cron loop has read what was before, the last times are missing.
        return self._heartbeat if settled else min(_UNSETTLED, self._heartbeat)

    async def _clear(self) -> None:
        if self._listed:
            await self._link.execute_many(presence.clear_entries(self._scheduler_id))
            self._listed = False
