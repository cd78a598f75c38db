"""
Enqueues periodic tasks by the clock, once per tick, with any number of schedulers.

Every scheduler tries every tick, and one script decides each once and for all: no leader that could
die, no lock that could expire. What was decided stands in Redis, so a scheduler that starts later
knows what was missed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from qd import clock, failpoint
from qd.broker.async_link import AsyncLink
from qd.client.compose import Composed
from qd.errors import BrokerError, BrokerUnavailable
from qd.maintenance.counters import Counters
from qd.maintenance.each_queue import Troubles
from qd.maintenance.entries import Entry
from qd.maintenance.stored import Stored
from qd.protocol.ops import cron, tasks
from qd.protocol.ops.cron import Decision
from qd.service import Service

_LONGEST_SLEEP = 5.0
"""Seconds; the wall clock may be set meanwhile."""

_AFTER_TROUBLE = 2.0


class Cron:
    """
    The loop for *entries* of the program, and for *stored* ones, which win over those of their name.

    *on_entries* is told the entries whenever they change.
    """

    def __init__(
        self,
        link: AsyncLink,
        entries: Sequence[Entry],
        counts: Counters,
        *,
        stored: Stored | None = None,
        on_entries: Callable[[list[Entry]], None] = lambda _entries: None,
    ) -> None:
        self._link = link
        self._own = {entry.name: entry for entry in entries}
        self._entries = list(entries)
        self._counts = counts
        self._stored = stored
        self._on_entries = on_entries
        self._log = logging.getLogger("qd.cron")
        self._troubles = Troubles(self._log)
        self._service = Service("cron", lambda: self.step(clock.now()))

    def start(self) -> None:
        if self._stored is not None:
            self._stored.on_news = self._service.wake
        self._service.start()

    async def stop(self) -> None:
        await self._service.stop()
        if self._stored is not None:
            await self._stored.close()

    @property
    def next_at(self) -> float | None:
        """When the next tick is due (Unix seconds); None if none is to come."""
        moments = [one.next_at for one in self._entries if one.next_at is not None]
        return min(moments, default=None)

    def look_again(self) -> None:
        """Wait for no news: with the next step, read again what was added at run time."""
        if self._stored is not None:
            self._stored.look_at = 0.0

    async def step(self, now: float) -> float:
        """Enqueue the ticks that are due at *now*; returns the seconds until the next one."""
        pause = _LONGEST_SLEEP
        if self._stored is not None:
            found = await self._stored.read(now)
            if found is not None:
                self._take_over(found)
            pause = min(pause, max(self._stored.look_at - now, 0.0))
        due = [
            one for one in self._entries
            if one.last is None or (one.next_at is not None and one.next_at <= now)
        ]  # fmt: skip
        outcomes = await asyncio.gather(
            *(self._serve(one, now) for one in due), return_exceptions=True
        )
        for entry, outcome in zip(due, outcomes, strict=True):
            name = f"schedule {entry.name}"
            if outcome is None:
                self._troubles.well(name)
                continue
            if isinstance(outcome, BrokerUnavailable) or not isinstance(outcome, Exception):
                raise outcome
            self._troubles.failed(name, outcome)
            pause = min(pause, _AFTER_TROUBLE)
        for entry in self._entries:
            # Ticks that failed just now are tried again after the pause for that.
            if entry.next_at is not None and entry.next_at > now:
                # A millisecond late: a timer that fires early would only have to be set again.
                pause = min(pause, max(entry.next_at - clock.now() + 0.001, 0.0))
        return pause

    def _take_over(self, stored: Mapping[str, Entry]) -> None:
        """Go on with other entries; what is decided of them stands in Redis."""
        known = set(map(id, self._entries))
        self._entries = list({**self._own, **stored}.values())
        for entry in self._entries:
            if id(entry) not in known:
                entry.begin_anew()
        self._on_entries(self._entries)

    async def _serve(self, entry: Entry, now: float) -> None:
        if entry.last is None:
            known = await self._link.execute(
                cron.begin(entry.queue, entry.name, now=int(now), since=entry.since)
            )
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
