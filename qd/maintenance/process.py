"""The loops of one scheduler process, started and stopped together."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Sequence
from typing import Protocol

from qd import clock
from qd.broker.connect import open_async_link
from qd.broker.endpoint import Endpoint
from qd.client.compose import Composer
from qd.client.declared import Declared
from qd.client.room import QueueBounds
from qd.config.model import Settings
from qd.handlers.options import TaskOptions
from qd.handlers.retries import RetryRules
from qd.maintenance.aggregator import Aggregator, Merge
from qd.maintenance.caller import Caller
from qd.maintenance.counters import Counters
from qd.maintenance.cron import Cron
from qd.maintenance.entries import Entry
from qd.maintenance.flows import Flows
from qd.maintenance.forwarder import Forwarder
from qd.maintenance.janitor import Janitor
from qd.maintenance.levels import Levels
from qd.maintenance.publisher import Publisher
from qd.maintenance.recoverer import Recoverer
from qd.maintenance.stored import Stored
from qd.protocol.ops.limits import Bounds


class _Loop(Protocol):
    def start(self) -> None: ...

    async def stop(self) -> None: ...


class Scheduler:
    """
    Keeps the queues tidy and enqueues periodic tasks until stopped. Made inside a running loop.

    Any number may run on any number of hosts. While Redis is away all loops wait and say so once.

    Args:
        queues: The queues to look after, as they are stored (with their prefix).

        rules: When a task that a Go server lost is tried again.

        declared: The periodic tasks of the program; those that are not enabled are left out.
            What was added at run time comes from Redis.

        aggregators: Patterns of group names and the functions that merge such groups.

        options_of: The options that a task type has by itself.

        limits: What each limit allows.

        bounds: Of queues that may be full; None if there are none.

    Raises:
        CronError: The spec of a periodic task cannot be read; the message names it.
        QdError: A periodic task cannot be composed.
    """

    def __init__(
        self,
        settings: Settings,
        endpoint: Endpoint,
        *,
        queues: Sequence[str],
        composer: Composer,
        rules: RetryRules,
        declared: Sequence[Declared],
        aggregators: Sequence[tuple[str, Merge]],
        options_of: Callable[[str], TaskOptions],
        limits: Sequence[Bounds] = (),
        bounds: QueueBounds | None = None,
    ) -> None:
        own = settings.scheduler
        self.id = f"{socket.gethostname() or 'unknown-host'}:{os.getpid()}:{uuid.uuid4()}"
        self.counts = Counters()

        def make(one: Declared) -> Entry:
            return Entry(
                one,
                composer,
                queue_prefix=settings.queue_prefix,
                timezone=own.timezone,
                options_of=options_of,
                now=clock.now(),
            )

        entries = [make(one) for one in declared if one.enabled]
        self._link = open_async_link(endpoint)
        publisher = Publisher(self._link, self.id, entries, heartbeat=own.heartbeat)
        self._forwarder = Forwarder(endpoint, queues, self.counts)
        self._caller = Caller(endpoint, limits, self.counts)
        self._recoverer = Recoverer(
            self._link, queues, rules, interval=own.recover_interval, counts=self.counts
        )
        self._cron = Cron(
            self._link,
            entries,
            self.counts,
            stored=Stored(endpoint, settings.queue_prefix, make),
            on_entries=publisher.show,
        )
        self._aggregator = Aggregator(
            self._link,
            queues,
            aggregators,
            settings=own.group,
            composer=composer,
            queue_prefix=settings.queue_prefix,
            options_of=options_of,
            counts=self.counts,
        )
        self._flows = Flows(
            self._link, queues, queue_prefix=settings.queue_prefix, counts=self.counts
        )
        self._janitor = Janitor(
            self._link,
            queues,
            queue_prefix=settings.queue_prefix,
            interval=own.janitor_interval,
            batch=own.janitor_batch,
            counts=self.counts,
        )
        self._levels: list[Levels] = []
        if bounds is not None:
            interval = settings.backpressure.interval
            self._levels.append(Levels(self._link, queues, bounds, interval=interval))
        self._loops: tuple[_Loop, ...] = (
            self._forwarder,
            self._caller,
            self._recoverer,
            self._cron,
            self._aggregator,
            self._flows,
            self._janitor,
            publisher,
            *self._levels,
        )

    async def step(self, now: float) -> float | None:
        """
        Do once what the loops do by and by, as at *now*: for tests, which keep the time themselves.

        Not for one that was started. Raises if Redis is away; what is wrong with one queue is logged, as ever.

        Returns:
            When (Unix seconds) the next tick is due, or the next task can go at a limit, as far as that is
            known; a group that will be ripe counts as a second.
        """
        self._forwarder.look_again()
        await self._forwarder.step(now)
        moments = [now + await self._caller.step()] if self._caller.bounds else []
        await self._recoverer.step(now)
        self._cron.look_again()
        await self._cron.step(now)
        if self._cron.next_at is not None:
            moments.append(self._cron.next_at)
        await self._aggregator.step(now)
        await self._aggregator.idle()
        if await self._aggregator.has_groups():
            moments.append(now + 1)
        await self._flows.step(now)
        await self._janitor.step(now)
        for levels in self._levels:
            await levels.step(now)
        return min(moments, default=None)

    async def start(self) -> None:
        """Start all loops; what Redis has to do with it happens in them."""
        for loop in self._loops:
            loop.start()

    async def stop(self) -> None:
        """Let each loop end its step, take the entries off the list, and close the connections."""
        for loop in self._loops:
            await loop.stop()
        await self._link.close()
