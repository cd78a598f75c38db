"""
A connection on which Redis tells of changes to what was read through it.

It has CLIENT TRACKING switched on (Redis docs: "Client-side caching"): a key that was read is
announced when it changes, once, until it is read again. Where that is not to be had, on a cluster
and behind some proxies, `active` is False, and one has to look from time to time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from qd.broker.async_link import AsyncLink
from qd.broker.connect import open_async_link, open_node_link
from qd.broker.endpoint import Endpoint, Topology
from qd.errors import BrokerRefused
from qd.protocol.op import Op, text
from qd.protocol.ops import upkeep

# OPTIN: only what is asked for is tracked. NOLOOP: what this connection changes is no news to it.
_TRACKING = ("CLIENT", "TRACKING", "ON", "OPTIN", "NOLOOP")


class Tracking:
    """
    *on_change* is told the keys that changed, or None if any may have: the connection was lost, or
    the database flushed. *otherwise* is what is logged where Redis refuses to tell.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        on_change: Callable[[list[str] | None], None],
        *,
        log: logging.Logger,
        otherwise: str,
    ) -> None:
        self.active = endpoint.topology is not Topology.CLUSTER
        self._endpoint = endpoint
        self._on_change = on_change
        self._log = log
        self._otherwise = otherwise
        self._link: AsyncLink | None = None

    async def link(self) -> AsyncLink:
        """Return the connection, opened on first use."""
        if self._link is None:
            link = await self._open_tracking() if self.active else None
            self._link = link or open_async_link(self._endpoint)
        return self._link

    async def read_each(self, ops: Sequence[Op[Any]]) -> list[Any]:
        """Carry out reading operations and ask to be told of changes; see `execute_each`."""
        link = await self.link()
        if not self.active:
            return await link.execute_each(ops)
        steps = [step for op in ops for step in (upkeep.watch(), op)]
        return (await link.execute_each(steps))[1::2]

    async def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def _open_tracking(self) -> AsyncLink | None:
        """Return a connection on which Redis tells of changes; None if it refuses to."""
        link = open_node_link(
            self._endpoint,
            greeting=[_TRACKING],
            on_push=self._on_push,
            # The link connects again by itself, but what it had asked to be told of is forgotten.
            on_lost=lambda: self._on_change(None),
        )
        try:
            await link.connect()
        except BrokerRefused as error:
            # A refused login is refused again, and told of, on the other kind of connection.
            self._log.warning("%s: %s", self._otherwise, error)
            self.active = False
            return None
        return link

    def _on_push(self, message: list[Any]) -> None:
        if message[0] == b"invalidate":
            # No keys: the whole database was flushed.
            self._on_change(None if message[1] is None else [text(key) for key in message[1]])
