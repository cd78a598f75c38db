"""
Says until when a lease lasts, by the clock of Redis.

Who judges leases asks Redis for the time as well, so hosts may disagree about it, and a clock may be set
while workers run. Between two answers the time is counted on a clock that nobody can set. In a cluster,
whose nodes may differ, it is the time of day of this host.
"""

from __future__ import annotations

import contextlib
import time

from qd import clock
from qd.broker.async_link import AsyncLink
from qd.errors import BrokerError
from qd.protocol import constants
from qd.protocol.ops import upkeep


class LeaseClock:
    """Begins with the time of day of this host. Any thread may ask or set it."""

    def __init__(self) -> None:
        self.set(clock.now())

    async def ask(self, link: AsyncLink) -> None:
        """Ask Redis for the time; if it is away just now, the next heartbeat will."""
        if link.one_node:
            with contextlib.suppress(BrokerError):
                self.set(await link.execute(upkeep.clock()))

    def set(self, now: float) -> None:
        """It is *now* (Unix seconds), as Redis says."""
        self._offset = now - _ticks()

    def lease_until(self) -> int:
        """When a lease that is written now ends, in Unix seconds."""
        now = clock.now() if clock.stands_still() else self._offset + _ticks()
        return int(now) + constants.LEASE


def _ticks() -> float:
    # Unlike CLOCK_MONOTONIC, it goes on while the machine is suspended.
    return time.clock_gettime(time.CLOCK_BOOTTIME)
