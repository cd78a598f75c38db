"""The same work for all queues: in one command if there is none, else for each by itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from qd.broker.async_link import AsyncLink
from qd.errors import BrokerError, BrokerUnavailable
from qd.protocol.ops import upkeep


class Troubles:
    """Says once that something fails, with its name, and once that it is well again."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._known: set[str] = set()

    def failed(self, name: str, error: BaseException) -> None:
        if name in self._known:
            return
        self._known.add(name)
        if isinstance(error, BrokerError):
            self._log.warning("%s is left out until this is mended: %s", name, error)
        else:
            self._log.error("%s is left out for now", name, exc_info=error)

    def well(self, name: str) -> None:
        if name in self._known:
            self._known.discard(name)
            self._log.info("%s is looked after again", name)


class EachQueue:
    """Does work for all of *queues* at once. One in trouble is told of once, and holds up no other."""

    def __init__(self, link: AsyncLink, queues: Sequence[str], log: logging.Logger) -> None:
        self._link = link
        self._queues = list(queues)
        self._troubles = Troubles(log)

    async def any_of(self, *keys_of: Callable[[str], str]) -> bool:
        """
        True if some queue has one of these keys: an idle system is asked no more than this.

        On a cluster that is one command a queue. A node that does not answer may have the key.
        """
        groups = [self._queues] if self._link.one_node else [[queue] for queue in self._queues]
        asked = (
            self._link.execute(upkeep.existing([key(one) for key in keys_of for one in part]))
            for part in groups
        )
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return any(answer != 0 for answer in answers)

    async def run(self, work: Callable[[str], Awaitable[None]]) -> None:
        """
        Await `work(queue)` for every queue.

        Raises:
            BrokerUnavailable: Redis is away, which is no trouble of a single queue.
        """
        outcomes = await asyncio.gather(*map(work, self._queues), return_exceptions=True)
        for queue, outcome in zip(self._queues, outcomes, strict=True):
            if isinstance(outcome, BrokerUnavailable) or (
                isinstance(outcome, BaseException) and not isinstance(outcome, Exception)
            ):
                raise outcome
            if outcome is None:
                self._troubles.well(queue)
            else:
                self._troubles.failed(queue, outcome)
