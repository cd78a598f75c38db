"""
Moves scheduled and retry tasks that are due to where they run from.

Sleeps until the next task is due; Redis tells of tasks that are due earlier (`tracking`). Where it
does not, the sets are looked at every second, which is as exact, since tasks are due at whole
seconds.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from typing import Any

from qd import clock, failpoint
from qd.broker.endpoint import Endpoint
from qd.errors import BrokerError, BrokerUnavailable
from qd.maintenance.counters import Counters
from qd.maintenance.each_queue import Troubles
from qd.maintenance.tracking import Tracking
from qd.protocol import keys
from qd.protocol.ops import upkeep
from qd.protocol.state import TaskState
from qd.service import Service

_SLICE = 100
"""Tasks per call: about half a millisecond of Redis. Larger slices are no faster."""

_ROUNDS = 100
"""Slices per step, so that a stop need not wait for a large backlog."""

_SETTLE = 0.025
"""Seconds after news before looking: retries come in swarms, and one look serves many."""

_LONGEST_SLEEP = 10.0
"""Seconds. The wall clock may be set meanwhile, or the connection be dead."""

_AFTER_TROUBLE = 2.0


class _Source:
    """One sorted set, and when to look at it next (Unix seconds)."""

    __slots__ = ("failed", "look_at", "name", "queue", "state")

    def __init__(self, queue: str, state: TaskState) -> None:
        self.queue = queue
        self.state = state
        self.name = f"{state} of {queue}"
        self.look_at = 0.0
        self.failed = False

    def is_due(self, now: float) -> bool:
        # A clock that was set back must not make one in trouble wait for the old time.
        return self.look_at <= now or (self.failed and self.look_at > now + _AFTER_TROUBLE)


class Forwarder:
    """The loop for some queues. *counts* is added to."""

    def __init__(self, endpoint: Endpoint, queues: Sequence[str], counts: Counters) -> None:
        self._counts = counts
        self._sources = {
            key(queue): _Source(queue, state)
            for queue in queues
            for key, state in (
                (keys.scheduled, TaskState.SCHEDULED),
                (keys.retry, TaskState.RETRY),
            )
        }
        self._changed: set[str] = set()
        self._news: asyncio.TimerHandle | None = None
        self._log = logging.getLogger("qd.forwarder")
        self._tracking = Tracking(
            endpoint,
            self._on_change,
            log=self._log,
            otherwise="delayed tasks are looked for every second",
        )
        self._troubles = Troubles(self._log)
        self._service = Service("forwarder", lambda: self.step(clock.now()))

    def start(self) -> None:
        self._service.start()

    async def stop(self) -> None:
        await self._service.stop()
        if self._news is not None:
            self._news.cancel()
        await self._tracking.close()

    async def step(self, now: float) -> float:
        """Forward what is due at *now*, slice by slice; returns the seconds until the next is."""
        due = [
            one for one in self._sources.values() if not self._tracking.active or one.is_due(now)
        ]
        try:
            if due:
                await self._look(due, now)
            else:
                # Its answer proves that the connection lives, so that no news has been lost.
                await (await self._tracking.link()).execute(upkeep.ping())
            for _ in range(_ROUNDS):
                due = [one for one in due if one.look_at <= now]
                if not due:
                    break
                drained = await self._forward(due, now)
                # Looked at again: only what was read last is announced when it changes.
                if drained:
                    await self._look(drained, now)
        except BrokerError:
            self.look_again()
            raise
        return self._pause(now)

    async def _look(self, sources: list[_Source], now: float) -> None:
        """Find out when the first task of each is due, and ask to be told of changes."""
        for source in sources:
            source.look_at = math.inf
        answers = await self._tracking.read_each(
            [upkeep.next_due(source.queue, source.state) for source in sources]
        )
        for source, answer in zip(sources, answers, strict=True):
            if self._is_well(source, f"reading {source.name}", answer, now) and answer is not None:
                source.look_at = min(source.look_at, answer)

    async def _forward(self, sources: list[_Source], now: float) -> list[_Source]:
        """Move one slice of each, so that none waits for another; returns those now drained."""
        now_ns = int(now * 1_000_000_000)
        steps = [
            upkeep.forward(one.queue, one.state, now_ns=now_ns, limit=_SLICE) for one in sources
        ]
        link = await self._tracking.link()
        failpoint.hit("forward.before")
        answers = await link.execute_each(steps)
        failpoint.hit("forward.after")
        drained = []
        for source, answer in zip(sources, answers, strict=True):
            if not self._is_well(source, f"forwarding {source.name}", answer, now):
                continue
            self._counts.forwarded += answer.moved
            if answer.moved:
                self._log.debug("forwarded %d tasks, %s", answer.moved, source.name)
            if answer.next_at is None or answer.next_at > now:
                drained.append(source)
        return drained

    def _is_well(self, source: _Source, what: str, answer: Any, now: float) -> bool:
        if isinstance(answer, BrokerUnavailable):
            raise answer
        source.failed = isinstance(answer, BaseException)
        if source.failed:
            self._troubles.failed(what, answer)
            source.look_at = now + _AFTER_TROUBLE
            return False
        self._troubles.well(what)
        return True

    def _pause(self, now: float) -> float:
        next_at = min((one.look_at for one in self._sources.values()), default=math.inf)
        next_at = min(next_at, now + _LONGEST_SLEEP)
        if not self._tracking.active:
            next_at = min(next_at, int(now) + 1)
        # A millisecond late: a timer that fires early would only have to be set again.
        return max(next_at - clock.now() + 0.001, 0.0) if next_at > now else 0.0

    def _on_change(self, changed: list[str] | None) -> None:
        self._changed.update(self._sources if changed is None else changed)
        if self._news is None:
            self._news = asyncio.get_running_loop().call_later(_SETTLE, self._tell)

    def _tell(self) -> None:
        self._news = None
        changed, self._changed = self._changed, set()
        for key in changed:
            source = self._sources.get(key)
            if source is not None:
                source.look_at = 0.0
        self._service.wake()

    def look_again(self) -> None:
        """Wait for no news: with the next step, look at everything."""
        for source in self._sources.values():
            source.look_at = 0.0
