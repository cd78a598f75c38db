"""
Periodic tasks that were added at run time: read from Redis, and again when Redis tells of a change.

Where it does not tell, they are looked at every second.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from qd.broker.endpoint import Endpoint
from qd.client.declared import Declared, from_json
from qd.errors import BrokerError, BrokerUnavailable, QdError
from qd.maintenance.each_queue import Troubles
from qd.maintenance.entries import Entry
from qd.maintenance.tracking import Tracking
from qd.protocol.ops import cron

_LOOK = 60.0
"""Seconds after which they are read even without news: a message may have been lost."""

_LOOK_OFTEN = 1.0


class Stored:
    """
    The entries behind what is stored. *make* makes one of them; `on_news` is called on a change.

    `look_at` is when to ask again (Unix seconds).
    """

    def __init__(
        self, endpoint: Endpoint, queue_prefix: str, make: Callable[[Declared], Entry]
    ) -> None:
        self.look_at = 0.0
        self.on_news: Callable[[], None] = lambda: None
        self._queue_prefix = queue_prefix
        self._make = make
        self._documents: dict[str, bytes] = {}
        self._entries: dict[str, Entry] = {}
        self._log = logging.getLogger("qd.cron")
        self._troubles = Troubles(self._log)
        self._tracking = Tracking(
            endpoint,
            self._on_change,
            log=self._log,
            otherwise="periodic tasks added at run time are looked for every second",
        )

    async def read(self, now: float) -> dict[str, Entry] | None:
        """
        Return the entries by name, or None if nothing has changed since the last time.

        An entry that did not change stays the same object. One that cannot be used is told of and
        left out.
        """
        # A clock that was set back must not make it wait for the old time.
        if now < self.look_at <= now + _LOOK:
            return None
        self.look_at = now + _LOOK
        try:
            (found,) = await self._tracking.read_each([cron.stored(self._queue_prefix)])
        except BrokerError:
            self.look_at = 0.0
            raise
        if not self._tracking.active:
            self.look_at = now + _LOOK_OFTEN
        if isinstance(found, BrokerUnavailable):
            raise found
        if isinstance(found, BaseException):
            self._troubles.failed("what was added at run time", found)
            return None
        self._troubles.well("what was added at run time")
        if found == self._documents:
            return None
        self._take_over(found)
        return self._entries

    async def close(self) -> None:
        await self._tracking.close()

    def _take_over(self, found: dict[str, bytes]) -> None:
        entries = {}
        for name, document in found.items():
            if self._documents.get(name) == document:
                if name in self._entries:
                    entries[name] = self._entries[name]
                continue
            try:
                entries[name] = self._make(from_json(document))
            except QdError as error:
                self._log.error("%s, added at run time, is left out: %s", name, error)
        self._documents, self._entries = found, entries

    def _on_change(self, _changed: list[str] | None) -> None:
        self.look_at = 0.0
        self.on_news()
