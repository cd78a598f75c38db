"""
A ledger for side effects: `ctx.once(key, fn)` runs *fn* in one run, and gives its result to all.

What it knows stands in Redis by key. A claim ends with the run that made it; the next run of the same
task takes it over. Between the effect and the note of it a process may die: then it is in doubt.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from msgspec import Struct, field

from qd import clock, failpoint, jsoncodec
from qd.errors import BrokerUnavailable, EffectInDoubt
from qd.protocol.op import Op
from qd.protocol.ops import once
from qd.protocol.ops.once import Begun, Claim

T = TypeVar("T")

_MARGIN = 30.0
"""Seconds beyond the deadline of a run in which its handler may still be at it."""

_FIRST_PAUSE = 0.05
_LAST_PAUSE = 1.0

_log = logging.getLogger("qd.task")

Execute = Callable[[Op[Any]], Awaitable[Any]]


class Effect(Struct, frozen=True):
    """One call of `ctx.once`. *keep* in seconds; *again*: do it anew if it may have been done."""

    key: str
    task: str
    run: str
    until: float
    keep: float
    again: bool
    execute: Execute
    call: str = field(default_factory=lambda: uuid.uuid4().hex)

    async def claim(self) -> Begun:
        """
        Return once it is this call's to do, or done by somebody else.

        Raises:
            EffectInDoubt: An earlier run may have done it, and *again* is False.
            BrokerError: Redis went away, or refuses; nothing was claimed for long.
        """
        pause = _FIRST_PAUSE
        while True:
            begun: Begun = await self.execute(
                once.begin(
                    self.key,
                    self._claim(),
                    now=int(clock.now() * 1000),
                    until=int((self.until + _MARGIN) * 1000),
                    keep=self._keep_ms(),
                    doubt=self.again,
                )
            )
            if begun.done or begun.mine:
                failpoint.hit("once.claimed")
                return begun
            if begun.doubt:
                raise EffectInDoubt(self.key)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LAST_PAUSE)

    async def note(self, result: Any) -> Any:
        """Note that it has happened, however long Redis is away; returns what all runs get."""
        failpoint.hit("once.done")
        try:
            data = b"" if result is None else jsoncodec.dumps(result)
        except TypeError as error:
            # Raised, it would have the task run again, and everything but this effect with it.
            _log.warning(
                "once(%r): the result is not kept, None is given for it: %s", self.key, error
            )
            data = b""
        kept = await self._insist(once.end(self.key, data, keep=self._keep_ms()))
        failpoint.hit("once.noted")
        return read(kept)

    async def drop(self) -> None:
        """It has not happened: the next one who asks may do it."""
        await self._insist(once.drop(self.key, self._claim()))

    def _claim(self) -> Claim:
        return Claim(self.task, self.run, self.call)

    def _keep_ms(self) -> int:
        return max(int(self.keep * 1000), 1)

    async def _insist(self, op: Op[T]) -> T:
        pause = _FIRST_PAUSE
        while True:
            try:
                answer: T = await self.execute(op)
                return answer
            except BrokerUnavailable as error:
                _log.warning("once(%r) cannot be noted yet: %s", self.key, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LAST_PAUSE)


def read(kept: bytes) -> Any:
    """Return a kept result as its runs get it."""
    return jsoncodec.loads(kept) if kept else None
