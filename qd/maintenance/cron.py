"""
Enqueues periodic tasks by the clock, once per tick, with any number of schedulers.

Every scheduler tries every tick, and one script decides each once and for all: no leader that could
die, no lock that could expire. What was decided stands in Redis, so a scheduler that starts later
knows what was missed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from qd import failpoint
from qd.broker.async_link import AsyncLink
from qd.client.compose import Composed
from qd.errors import BrokerError, BrokerUnavailable
from qd.maintenance.counters import Counters
from qd.maintenance.each_queue import Troubles
from qd.maintenance.entries import Entry
from qd.protocol.ops import cron, tasks
from qd.protocol.ops.cron import Decision
from qd.service import Service

_LONGEST_SLEEP = 5.0
"""Seconds; the wall clock may be set meanwhile."""

_AFTER_TROUBLE = 2.0


class Cron:
    """The loop for some entries; without any it does not run."""

    def __init__(self, link: AsyncLink, entries: Sequence[Entry], counts: Counters) -> None:
        self._link = link
        self._entries = list(entries)
        self._counts = counts
        self._log = logging.getLogger("qd.cron")
        self._troubles = Troubles(self._log)
        self._service = Service("cron", lambda: self.step(time.time()))

    def start(self) -> None:
        if self._entries:
            self._service.start()

    async def stop(self) -> None:
        await self._service.stop()

    async def step(self, now: float) -> float:
        """Enqueue the ticks that are due at *now*; returns the seconds until the next one."""
        due = [
            one for one in self._entries
            if one.last is None or (one.next_at is not None and one.next_at <= now)
        ]  # fmt: skip
        outcomes = await asyncio.gather(
            *(self._serve(one, now) for one in due), return_exceptions=True
        )
        pause = _LONGEST_SLEEP
        for entry, outcome in zip(due, outcomes, strict=True):
            name = f"schedule {entry.name}"
            if outcome is None:
                self._troubles.well(name)
                continue
            if isinstance(outcome, BrokerUnavailable) or not isinstance(outcome, Exception):
                raise outcome
            self._troubles.failed(name, outcome)
            pause = _AFTER_TROUBLE
        for entry in self._entries:
            # Ticks that failed just now are tried again after the pause for that.
            if entry.next_at is not None and entry.next_at > now:
                # A millisecond late: a timer that fires early would only have to be set again.
                pause = min(pause, max(entry.next_at - time.time() + 0.001, 0.0))
        return pause

    async def _serve(self, entry: Entry, now: float) -> None:
        if entry.last is None:
            known = await self._link.execute(cron.begin(entry.queue, entry.name, now=int(now)))
            entry.decided(known.tick, known.fired)
        for tick in entry.due(now):
            await self._tick(entry, tick, now)
        entry.skip_to(now)

    async def _tick(self, entry: Entry, tick: int, now: float) -> None:
        composed = entry.compose(tick, now)
        now_ns = int(now * 1_000_000_000)
        # Every time: the queue may have been removed, and must be known before its first task.
        await self._link.execute(tasks.announce([composed.queue]))
        failpoint.hit("cron_tick.before")
        ticked = await self._link.execute(
            cron.tick(
                entry.queue,
                entry.name,
                composed.new,
                composed.state,
                tick_at=tick,
                overlap=entry.overlap,
                now_ns=now_ns,
            )
        )
        failpoint.hit("cron_tick.after")
        entry.decided(tick, ticked.fired)
        await self._tell(entry, composed, ticked.decision, now_ns)

    async def _tell(self, entry: Entry, composed: Composed, what: Decision, now_ns: int) -> None:
        task_id = composed.new.id
        if what is Decision.ENQUEUED:
            self._counts.ticks += 1
            self._log.info("%s: enqueued %s %s", entry.name, composed.type, task_id)
            await self._record(entry, task_id, now_ns)
        elif what is Decision.ID_IN_USE:
            self._log.warning("%s: not enqueued, the id %r is in use", entry.name, task_id)
        elif what is Decision.LOCK_HELD:
            self._log.info("%s: not enqueued, an equal unique task exists", entry.name)
        elif what is Decision.STILL_RUNNING:
            self._log.info("%s: not enqueued, the last task has not ended", entry.name)
        elif what is Decision.PAUSED:
            self._log.debug("%s: not enqueued, it is paused", entry.name)

    async def _record(self, entry: Entry, task_id: str, now_ns: int) -> None:
        try:
            await self._link.execute_many(cron.record_event(entry.id, task_id, now_ns=now_ns))
        except BrokerError as error:
            # The task is in its queue; only the history lacks a line.
            self._log.warning("%s: no history for %s: %s", entry.name, task_id, error)
