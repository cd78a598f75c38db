"""The loops of one scheduler process, started and stopped together."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Sequence

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
from qd.maintenance.forwarder import Forwarder
from qd.maintenance.janitor import Janitor
from qd.maintenance.levels import Levels
from qd.maintenance.publisher import Publisher
from qd.maintenance.recoverer import Recoverer
from qd.maintenance.stored import Stored
from qd.protocol.ops.limits import Bounds


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
                now=time.time(),
            )

        entries = [make(one) for one in declared if one.enabled]
        self._link = open_async_link(endpoint)
        publisher = Publisher(self._link, self.id, entries, heartbeat=own.heartbeat)
        self._loops = (
            Forwarder(endpoint, queues, self.counts),
            Caller(endpoint, limits, self.counts),
            Recoverer(self._link, queues, rules, interval=own.recover_interval, counts=self.counts),
            Cron(
                self._link,
                entries,
                self.counts,
                stored=Stored(endpoint, settings.queue_prefix, make),
                on_entries=publisher.show,
            ),
            Aggregator(
                self._link,
                queues,
                aggregators,
                settings=own.group,
                composer=composer,
                queue_prefix=settings.queue_prefix,
                options_of=options_of,
                counts=self.counts,
            ),
            Janitor(
                self._link,
                queues,
                queue_prefix=settings.queue_prefix,
                interval=own.janitor_interval,
                batch=own.janitor_batch,
                counts=self.counts,
            ),
            publisher,
            *(() if bounds is None else (self._level_watch(settings, queues, bounds),)),
        )

    def _level_watch(
        self, settings: Settings, queues: Sequence[str], bounds: QueueBounds
    ) -> Levels:
        return Levels(self._link, queues, bounds, interval=settings.backpressure.interval)

    async def start(self) -> None:
        """Start all loops; what Redis has to do with it happens in them."""
        for loop in self._loops:
            loop.start()

    async def stop(self) -> None:
        """Let each loop end its step, take the entries off the list, and close the connections."""
        for loop in self._loops:
            await loop.stop()
        await self._link.close()
