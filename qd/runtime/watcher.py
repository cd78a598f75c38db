"""
Hears of new tasks, of cancellations and of orders, so that an idle worker has nothing to ask.

Redis tells a client about keys it has read once they change (CLIENT TRACKING, Redis docs:
"Client-side caching"). A worker that found a queue empty reads its `pending` and `paused` keys on
this connection, and is told of the next push by whatever client, of Go too, and of a resume. One
connection serves all queues. Where tracking is not to be had, queues are asked again after a pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Any

from qd.broker.async_link import AsyncNodeLink
from qd.errors import BrokerError, BrokerRefused
from qd.protocol import keys, orders
from qd.protocol.op import text
from qd.protocol.ops import tasks, upkeep
from qd.protocol.orders import Order
from qd.service import Service

OpenLink = Callable[..., AsyncNodeLink]

_SUBSCRIBE = ("SUBSCRIBE", keys.CANCEL_CHANNEL)
_TRACKING = ("CLIENT", "TRACKING", "ON")

_SAFETY_INTERVAL = 10.0
"""Seconds after which silent queues are looked at all the same: the connection may be dead."""

_POLL_INTERVAL = 0.5
"""Seconds between two looks where tracking is not to be had."""

_AFTER_OTHERS = 0.002
"""Seconds after which a task is looked for that another process of the host should have taken."""

_FIRST_ATTEMPT = 1.0
"""Seconds that a start waits for the subscription, should Redis be slow to answer."""


class Watcher:
    """
    Tells the fetcher which queues may have tasks, and who is to be cancelled.

    *on_ready* gets the names of queues, *on_cancel* a task id, *on_order* what an operator wants of
    some worker process. *is_first* says whether this process is the one that looks at once.
    """

    def __init__(
        self,
        open_link: OpenLink,
        queues: Iterable[str],
        *,
        tracking: bool,
        on_ready: Callable[[Iterable[str]], None],
        on_cancel: Callable[[str], None],
        on_order: Callable[[Order], None],
        is_first: Callable[[], bool] = lambda: True,
    ) -> None:
        self._open_link = open_link
        self._queues = list(queues)
        self._tracking = tracking
        self._on_ready = on_ready
        self._on_cancel = on_cancel
        self._on_order = on_order
        self._is_first = is_first
        self._for_others: set[str] = set()
        self._late_look: asyncio.Task[None] | None = None
        self._link: AsyncNodeLink | None = None
        self._tried = asyncio.Event()
        self._log = logging.getLogger("qd.watcher")
        self._service = Service("watcher", self._step)

    async def start(self) -> None:
        """
        Listen, and return when the subscription stands: Pub/Sub keeps nothing for latecomers.

        Returns without it when Redis refuses, is away or slow; it is then tried for again and again.
        """
        self._service.start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_ATTEMPT):
                await self._tried.wait()

    async def stop(self) -> None:
        await self._service.stop()
        if self._late_look is not None:
            self._late_look.cancel()
        if self._link is not None:
            await self._link.close()

    async def arm(self, queues: list[str]) -> list[str]:
        """
        Ask to be told when one of *queues* changes; return those that have tasks already.

        Without tracking nothing is asked: `on_ready` names all queues again after a pause.
        """
        if not self._tracking or self._link is None:
            asyncio.get_running_loop().call_later(_POLL_INTERVAL, self._on_ready, queues)
            return []
        try:
            counts = await self._link.execute_each([tasks.arm(queue) for queue in queues])
        except BrokerError:
            # The fetcher meets the same trouble on its own connection, and tells of it.
            asyncio.get_running_loop().call_later(_POLL_INTERVAL, self._on_ready, queues)
            return []
        # One that cannot be read is asked for: the fetcher tells what is wrong with it.
        return [queue for queue, count in zip(queues, counts, strict=True) if count]

    async def _step(self) -> float:
        if self._link is None:
            try:
                await self._connect()
            finally:
                self._tried.set()
            self._on_ready(self._queues)
        elif not self._tracking:
            await self._link.execute(upkeep.ping())
        elif await self._link.execute(tasks.waiting(self._queues)):
            self._on_ready(await self.arm(self._queues))
        return _SAFETY_INTERVAL

    async def _connect(self) -> None:
        if self._tracking:
            try:
                self._link = await self._open([_TRACKING, _SUBSCRIBE])
                return
            except BrokerRefused as error:
                self._log.warning(
                    "no wake-up from Redis, queues are looked at every %.1f s instead: %s",
                    _POLL_INTERVAL,
                    error,
                )
                self._tracking = False
        self._link = await self._open([_SUBSCRIBE])

    async def _open(self, greeting: list[tuple[str, ...]]) -> AsyncNodeLink:
        link = self._open_link(greeting=greeting, on_push=self._on_push, on_lost=self._on_lost)
        await link.connect()
        return link

    def _on_push(self, message: list[Any]) -> None:
        kind = message[0]
        if kind == b"invalidate":
            changed = message[1]
            # No keys means that the whole database was flushed.
            queues = {keys.queue_of(text(key)) for key in changed} if changed else self._queues
            if self._is_first():
                self._on_ready(queues)
                return
            self._for_others.update(queues)
            if self._late_look is None:
                self._late_look = asyncio.create_task(self._look_late())
        elif kind == b"message":
            said = text(message[2])
            order = orders.decode(said)
            if order is None:
                self._on_cancel(said)
            else:
                self._on_order(order)

    async def _look_late(self) -> None:
        """Look whether something is left by who was first, and ask to be told of the next change."""
        try:
            while self._for_others:
                await asyncio.sleep(_AFTER_OTHERS)
                queues, self._for_others = self._for_others, set()
                if left := await self.arm([queue for queue in self._queues if queue in queues]):
                    self._on_ready(left)
        finally:
            self._late_look = None

    def _on_lost(self) -> None:
        # What was armed on the old connection is forgotten; a new one starts afresh.
        self._link = None
        self._service.wake()
