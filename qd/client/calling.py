"""Brings tasks that a limit has called to the head of their queues: for who frees a slot, and the scheduler."""

from __future__ import annotations

from qd import clock
from qd.broker.async_link import AsyncLink
from qd.protocol.ops import limits
from qd.protocol.ops.limits import Bounds, Member


async def bring(link: AsyncLink, bounds: Bounds, called: list[Member]) -> int:
    """
    Let *called* tasks run; those that are gone, or whose queue is paused, make way for the next.

    Returns how many there were. Whoever dies in between leaves room that is kept for a second; then
    a scheduler calls again. Safe to repeat.

    Raises:
        BrokerError: Redis is away, or refuses.
    """
    count = 0
    while called:
        count += len(called)
        answers = await link.execute_many(limits.wake(called, now_ns=clock.now_ns()))
        gone = [one for answer in answers for one in answer]
        if not gone:
            break
        step = limits.free(bounds, gone)
        called = await link.execute(step)
    return count
