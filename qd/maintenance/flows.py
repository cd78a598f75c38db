"""
Moves flows on where nobody else does: a worker died between the end of a link and what follows from it, or
the link was run by a Go server, which knows of no flows.

Ends that workers have noted are taken up a second later. Whatever else becomes of links is found by looking at
their tasks: at a flow that has just got further soon, then less and less often.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from qd import clock
from qd.broker.async_link import AsyncLink
from qd.client.continuing import HOLD, go_on, settle
from qd.client.steps import carry_out
from qd.errors import BrokerUnavailable
from qd.maintenance.counters import Counters
from qd.maintenance.each_queue import EachQueue, Troubles
from qd.protocol import keys
from qd.protocol.flow import Place
from qd.protocol.ops import flows, upkeep
from qd.protocol.ops.flows import FlowState, NodeState
from qd.service import Service

_INTERVAL = 1.0
_SOON = 0.1
"""Seconds until the next step, if there is more to do than this one did."""

_SHARE = 0.5
_LONGEST = 30.0
"""A flow is looked at after this share of the time for which it got no further, or so many seconds."""

_STORING = 20.0
_FLOWS = 200
"""Flows that one step looks at: so many a second at the most."""

_LINKS = 100
_ENDS = 500
_TAKEN = _LONGEST + 1.0
"""
Seconds for which a flow that is looked at is nobody else's. Longer than any pause: to look again sooner is
what is said last, by this look or by a worker meanwhile, and what is sooner holds.
"""


class Flows:
    """The loop. *counts* is added to."""

    def __init__(
        self, link: AsyncLink, queues: Sequence[str], *, queue_prefix: str, counts: Counters
    ) -> None:
        self._link = link
        self._queue_prefix = queue_prefix
        self._counts = counts
        self._more = False
        self._log = logging.getLogger("qd.flows")
        self._troubles = Troubles(self._log)
        self._each = EachQueue(link, queues, self._log)
        self._service = Service("flows", lambda: self.step(clock.now()))

    def start(self) -> None:
        self._service.start()

    async def stop(self) -> None:
        await self._service.stop()

    async def step(self, now: float) -> float:
        """Move what is to be moved at *now*; returns the seconds until the next step."""
        self._more = False
        if await self._each.any_of(keys.ended_links):
            await self._each.run(lambda queue: self._settle(queue, now))
        if await self._link.execute(upkeep.existing([keys.flows(self._queue_prefix)])):
            await self._look_at_all(now)
        return _SOON if self._more else _INTERVAL

    async def _settle(self, queue: str, now: float) -> None:
        ids = await self._link.execute(flows.ended(queue, until=now - HOLD, limit=_ENDS))
        if ids:
            self._more = self._more or len(ids) == _ENDS
            self._counts.continued += await settle(self._link, self._queue_prefix, queue, ids)

    async def _look_at_all(self, now: float) -> None:
        taken = flows.due(self._queue_prefix, now=now, hold=_TAKEN, limit=_FLOWS)
        found = await self._link.execute(taken)
        outcomes = await asyncio.gather(
            *(self._look_at(flow, now) for flow in found), return_exceptions=True
        )
        for flow, outcome in zip(found, outcomes, strict=True):
            if isinstance(outcome, BrokerUnavailable):
                raise outcome
            if outcome is None:
                self._troubles.well(f"flow {flow}")
            else:
                self._troubles.failed(f"flow {flow}", outcome)

    async def _look_at(self, flow: str, now: float) -> None:
        """See what became of the links of a flow, and say when to look again."""
        seen = await self._link.execute(flows.look(flow, now=now, limit=_LINKS))
        if seen.state is FlowState.STORING:
            await self._again(flow, now + _STORING)
            return
        ends = await self._link.execute_many(
            [flows.read_end(one.queue, Place(flow, one.number)) for one in seen.links]
        )
        news = [
            end for one, end in zip(seen.links, ends, strict=True) if end.state is not one.state
        ]
        moved = await carry_out(self._link, go_on(self._queue_prefix, flow, news))
        if not moved.may_go_on:
            return
        self._counts.continued += sum(one.state is NodeState.DONE for one in news)
        if news:
            # There may be more of them than one look sees.
            self._more = True
            await self._again(flow, now)
        else:
            pause = _SHARE * (now - seen.changed)
            await self._again(flow, now + min(max(pause, _INTERVAL), _LONGEST))

    async def _again(self, flow: str, at: float) -> None:
        await self._link.execute(flows.look_after(self._queue_prefix, flow, at=at))
