"""
The gate of one limit: asks Redis whether tasks may start, and tells it which have ended.

A slot belongs to the task, not to the worker: whoever runs a task next that was handed back or put
back has its slot. Ends are sent before the outcome is, on the same connection: a worker that dies in
between leaves a free slot and a task that runs again, and never a slot without a task.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterable, Sequence

from qd import clock, jsoncodec
from qd.broker.async_link import AsyncLink
from qd.client.calling import bring
from qd.errors import BrokerError, LeaseLost
from qd.handlers.limit import Limit
from qd.protocol import constants
from qd.protocol.op import Op
from qd.protocol.ops import limits
from qd.protocol.ops.limits import Member
from qd.runtime.admission import Park, Start, Verdict
from qd.runtime.run import Run

_LONGEST_BACKOFF = 1.0

_LATE = 0.02
"""Seconds that a start under a rate may be late; the script allows for it (`lib/limit.lua`)."""


class LimitGate:
    """The gate of *limit* in the worker process *owner*. *link* is that on which outcomes are sent."""

    def __init__(self, limit: Limit, link: AsyncLink, owner: str) -> None:
        self._limit = limit
        self._link = link
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._has_slots = limit.bounds.slots > 0
        self._quickest = math.inf
        self._ended: list[Member] = []
        self._writing: set[asyncio.Task[None]] = set()
        self._log = logging.getLogger("qd.limits")

    def __str__(self) -> str:
        return f"the limit {self._limit.name}"

    def concerns(self, task_type: str, queue: str) -> bool:
        return self._limit.concerns(task_type, queue)

    async def ask(self, runs: Sequence[Run]) -> Sequence[Verdict]:
        members = [self._member(run) for run in runs]
        missed = [member for member, run in zip(members, runs, strict=True) if self in run.gates]
        sent = self._loop.time()
        asked = await self._link.execute(
            limits.ask(self._limit.bounds, self._owner, members, missed)
        )
        now = self._loop.time()
        self._has_slots = asked.has_slots
        # Somewhere between the two Redis has answered. What takes longer than it can is a delay here.
        self._quickest = min(now - sent, 1.01 * self._quickest)
        # Where the clock stands still, as in a test kit, nothing is late.
        timed = asked.has_rate and not clock.stands_still()
        latest = sent + 2 * self._quickest + _LATE if timed else math.inf
        return [
            self._park(member, -answer) if answer < 0 else Start(now + answer, latest + answer)
            for member, answer in zip(members, asked.answers, strict=True)
        ]

    def unused(self, run: Run) -> None:
        self._send([self._member(run)], unused=True)

    def ended(self, run: Run, error: BaseException | None) -> None:
        # A task whose lease is lost goes on elsewhere, with its slot.
        if self._has_slots and not isinstance(error, LeaseLost):
            if not self._ended:
                self._loop.call_soon(self._flush)
            self._ended.append(self._member(run))

    async def start(self) -> None:
        """Make the limit known to tools."""
        bounds, settings = self._limit.bounds, self._limit.settings
        document = {
            "rate": bounds.rate,
            "burst": bounds.burst,
            "concurrency": bounds.slots,
            "per": settings.per,
            "key": settings.key,
        }
        try:
            await self._link.execute(limits.publish({bounds.name: jsoncodec.dumps(document)}))
        except BrokerError as error:
            self._log.warning("the limit %s is not shown to tools: %s", bounds.name, error)

    async def settled(self) -> None:
        self._flush()
        while self._writing:
            await asyncio.wait(self._writing)

    async def stop(self) -> None:
        self._flush()
        if self._writing:
            await asyncio.wait(self._writing, timeout=_LONGEST_BACKOFF)
        for task in self._writing:
            task.cancel()

    def renewals(self, runs: Iterable[Run]) -> list[Op[int]]:
        """What keeps the slots of these runs, as far as they have one. Called in any thread."""
        tasks = [run.key for run in runs if self in run.gates]
        if not tasks or not self._has_slots:
            return []
        return [
            limits.renew(self._limit.name, self._owner, tasks[start : start + 500])
            for start in range(0, len(tasks), 500)
        ]

    def _member(self, run: Run) -> Member:
        limit, message = self._limit, run.message
        return Member(run.key, limit.key_of(message, run.queue), limit.turn_of(message))

    def _park(self, member: Member, seconds: float) -> Park:
        waits = jsoncodec.dumps(["limit", self._limit.name, member.key]).decode()
        return Park(clock.now() + seconds, waits)

    def _flush(self) -> None:
        ended, self._ended = self._ended, []
        for start in range(0, len(ended), constants.BATCH_MAX):
            self._send(ended[start : start + constants.BATCH_MAX], unused=False)

    def _send(self, members: list[Member], *, unused: bool) -> None:
        task = self._loop.create_task(self._free(members, unused=unused))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _free(self, members: list[Member], *, unused: bool) -> None:
        bounds = self._limit.bounds
        give_up_at = time.monotonic() + constants.LEASE
        attempt = 0
        while True:
            try:
                step = limits.free(bounds, members, owner=self._owner, unused=unused)
                called = await self._link.execute(step)
                await bring(self._link, bounds, called)
                return
            except BrokerError as error:
                if time.monotonic() > give_up_at:
                    # Nobody renews them any more, so they are free by themselves.
                    self._log.warning("slots of the limit %s end later: %s", bounds.name, error)
                    return
            await asyncio.sleep(min(0.05 * 2 ** min(attempt, 8), _LONGEST_BACKOFF))
            attempt += 1
