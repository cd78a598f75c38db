"""
Moves scheduled and retry tasks that are due to where they run from.

Sleeps until the next task is due. Redis tells of tasks that are due earlier: the sets are read on a
connection with CLIENT TRACKING (Redis docs: "Client-side caching"), and a change of one that was
read is announced. Where that is not to be had, on a cluster and behind some proxies, the sets are
looked at every second, which is as exact, since tasks are due at whole seconds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

from qd import failpoint
from qd.broker.async_link import AsyncLink
from qd.broker.connect import open_async_link, open_node_link
from qd.broker.endpoint import Endpoint, Topology
from qd.errors import BrokerError, BrokerRefused, BrokerUnavailable
from qd.maintenance.counters import Counters
from qd.maintenance.each_queue import Troubles
from qd.protocol import keys
from qd.protocol.op import Op, text
from qd.protocol.ops import upkeep
from qd.protocol.state import TaskState
from qd.service import Service

# OPTIN: only what is asked for is tracked. NOLOOP: what this connection changes is no news to it.
_TRACKING = ("CLIENT", "TRACKING", "ON", "OPTIN", "NOLOOP")

_SLICE = 200
"""Tasks per call: about a millisecond of Redis."""

_ROUNDS = 50
"""Slices per step, so that a stop need not wait for a large backlog."""

_SETTLE = 0.025
"""Seconds after news before looking: retries come in swarms, and one look serves many."""

_LONGEST_SLEEP = 10.0
"""Seconds. The wall clock may be set meanwhile, or a message be lost."""

_AFTER_TROUBLE = 2.0


class _Source:
    """One sorted set, and when to look at it next (Unix seconds)."""

    __slots__ = ("look_at", "name", "queue", "state")

    def __init__(self, queue: str, state: TaskState) -> None:
        self.queue = queue
        self.state = state
        self.name = f"{state} of {queue}"
        self.look_at = 0.0


class Forwarder:
    """The loop for some queues. *counts* is added to."""

    def __init__(self, endpoint: Endpoint, queues: Sequence[str], counts: Counters) -> None:
        self._endpoint = endpoint
        self._counts = counts
        self._sources = {
            key(queue): _Source(queue, state)
            for queue in queues
            for key, state in (
                (keys.scheduled, TaskState.SCHEDULED),
                (keys.retry, TaskState.RETRY),
            )
        }
        self._tracking = endpoint.topology is not Topology.CLUSTER
        self._link: AsyncLink | None = None
        self._changed: set[str] = set()
        self._news: asyncio.TimerHandle | None = None
        self._log = logging.getLogger("qd.forwarder")
        self._troubles = Troubles(self._log)
        self._service = Service("forwarder", lambda: self.step(time.time()))

    def start(self) -> None:
        self._service.start()

    async def stop(self) -> None:
        await self._service.stop()
        if self._news is not None:
            self._news.cancel()
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def step(self, now: float) -> float:
        """Forward what is due at *now*, slice by slice; returns the seconds until the next is."""
        link = await self._connected()
        # A clock that was set back must not make anything wait for the old time.
        due = [
            one for one in self._sources.values() if not now < one.look_at <= now + _LONGEST_SLEEP
        ]
        try:
            if due:
                await self._look(link, due, now)
            for _ in range(_ROUNDS):
                due = [one for one in due if one.look_at <= now]
                if not due:
                    break
                drained = await self._forward(link, due, now)
                # Looked at again: only what was read last is announced when it changes.
                if drained:
                    await self._look(link, drained, now)
        except BrokerError:
            self._look_at_all()
            raise
        return self._pause(now)

    async def _look(self, link: AsyncLink, sources: list[_Source], now: float) -> None:
        """Find out when the first task of each is due, and ask to be told of changes."""
        for source in sources:
            source.look_at = now + _LONGEST_SLEEP
        steps: list[Op[Any]] = []
        for source in sources:
            if self._tracking:
                steps.append(upkeep.watch())
            steps.append(upkeep.next_due(source.queue, source.state))
        answers = await link.execute_each(steps)
        if self._tracking:
            answers = answers[1::2]
        for source, answer in zip(sources, answers, strict=True):
            if self._is_well(source, f"reading {source.name}", answer, now) and answer is not None:
                source.look_at = min(source.look_at, answer)

    async def _forward(self, link: AsyncLink, sources: list[_Source], now: float) -> list[_Source]:
        """Move one slice of each, so that none waits for another; returns those now drained."""
        now_ns = int(now * 1_000_000_000)
        steps = [
            upkeep.forward(one.queue, one.state, now_ns=now_ns, limit=_SLICE) for one in sources
        ]
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
        if isinstance(answer, BaseException):
            self._troubles.failed(what, answer)
            source.look_at = now + _AFTER_TROUBLE
            return False
        self._troubles.well(what)
        return True

    def _pause(self, now: float) -> float:
        next_at = min((one.look_at for one in self._sources.values()), default=now + _LONGEST_SLEEP)
        if not self._tracking:
            next_at = min(next_at, int(now) + 1)
        # A millisecond late: a timer that fires early would only have to be set again.
        return max(next_at - time.time() + 0.001, 0.0) if next_at > now else 0.0

    async def _connected(self) -> AsyncLink:
        if self._link is None:
            link = await self._open_tracking() if self._tracking else None
            self._link = link or open_async_link(self._endpoint)
        if not self._tracking:
            self._look_at_all()
        return self._link

    async def _open_tracking(self) -> AsyncLink | None:
        """Return a connection on which Redis tells of changes; None if it refuses to."""
        link = open_node_link(
            self._endpoint, greeting=[_TRACKING], on_push=self._on_push, on_lost=self._on_lost
        )
        try:
            await link.connect()
        except BrokerRefused as error:
            # A refused login is refused again, and told of, on the other kind of connection.
            self._log.warning("delayed tasks are looked for every second: %s", error)
            self._tracking = False
            return None
        return link

    def _on_push(self, message: list[Any]) -> None:
        if message[0] != b"invalidate":
            return
        # No keys: the whole database was flushed.
        self._changed.update(self._sources if message[1] is None else map(text, message[1]))
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

    def _on_lost(self) -> None:
        # The link connects again by itself, but what it had asked to be told of is forgotten.
        self._look_at_all()
        self._service.wake()

    def _look_at_all(self) -> None:
        for source in self._sources.values():
            source.look_at = 0.0
