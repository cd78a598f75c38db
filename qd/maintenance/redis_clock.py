"""The time by which leases end: one clock for all hosts, whatever each of them believes."""

from __future__ import annotations

from qd import clock
from qd.broker.async_link import AsyncLink
from qd.protocol.ops import upkeep


async def time_of(link: AsyncLink) -> float:
    """
    Return the time by the clock of Redis, in Unix seconds; in a cluster, whose nodes may differ, ours.

    Raises:
        BrokerError: Redis is away.
    """
    if not link.one_node or clock.stands_still():
        return clock.now()
    return await link.execute(upkeep.clock())
