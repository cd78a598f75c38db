"""
Moves the flows on whose links this process has ended, at once and beside everything else.

Nothing depends on it: the end of a link is noted together with its outcome, and what is not moved here, for
whatever reason, a scheduler moves a second or two later.
"""

from __future__ import annotations

import asyncio
import logging

from qd.broker.async_link import AsyncLink
from qd.client.continuing import settle
from qd.errors import BrokerError


class FlowMover:
    """Made inside a running loop. *link* is that of the outcomes."""

    def __init__(self, link: AsyncLink, queue_prefix: str) -> None:
        self._link = link
        self._queue_prefix = queue_prefix
        self._loop = asyncio.get_running_loop()
        self._moving: set[asyncio.Task[None]] = set()
        self._log = logging.getLogger("qd.flows")

    def ended(self, queue: str, ids: list[str]) -> None:
        """Links have ended, and that is written."""
        task = self._loop.create_task(self._move(queue, ids))
        self._moving.add(task)
        task.add_done_callback(self._moving.discard)

    async def settled(self) -> None:
        """Wait until all are moved."""
        while self._moving:
            await asyncio.wait(self._moving)

    async def drain(self, within: float) -> None:
        """Wait until all are moved, at most *within* seconds; the rest is left to a scheduler."""
        if self._moving:
            await asyncio.wait(self._moving, timeout=within)
        for task in self._moving:
            task.cancel()

    async def _move(self, queue: str, ids: list[str]) -> None:
        try:
            await settle(self._link, self._queue_prefix, queue, ids)
        except BrokerError as error:
            self._log.warning(
                "%d links wait for a scheduler to move their flows: %s", len(ids), error
            )
        except Exception:  # noqa: BLE001 - nothing depends on it, see above
            self._log.exception("%d links wait for a scheduler to move their flows", len(ids))
