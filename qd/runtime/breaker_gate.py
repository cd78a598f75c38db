"""
The gate of one circuit breaker: asks Redis whether tasks may start, and tells it how they ended.

A run that dies with its process tells nothing: its task tries again when it is handed back, and if
it never comes, its try is lost after 20 s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any

from msgspec import Struct

from qd import clock, jsoncodec
from qd.broker.async_link import AsyncLink
from qd.errors import BrokerError
from qd.handlers.breaker import Breaker
from qd.observability import tally
from qd.policy.breaker import went_well
from qd.protocol import constants
from qd.protocol.op import Op
from qd.protocol.ops import breakers
from qd.protocol.ops.breakers import Answer, Change, Ended
from qd.protocol.ops.limits import Member
from qd.runtime.admission import Park, Verdict
from qd.runtime.run import Run, Stop

_LAST_WORDS = 1.0
"""Seconds for what is still to be told when the worker stops."""

_log = logging.getLogger("qd.breakers")


class BreakerChange(Struct, frozen=True):
    """
    A breaker has another state: closed, open or half-open; `key` is empty for one without keys.

    One process hears of each change: the worker whose task made it.
    """

    breaker: str
    key: str
    before: str
    state: str


OnBreaker = Callable[[BreakerChange], None]


class BreakerGate:
    """The gate of *breaker*. *link* is that on which outcomes are sent."""

    def __init__(
        self,
        breaker: Breaker,
        link: AsyncLink,
        *,
        is_failure: Callable[[BaseException], bool] | None,
        hooks: Sequence[OnBreaker],
    ) -> None:
        self._breaker = breaker
        self._rules = breaker.rules
        self._link = link
        self._is_failure = is_failure
        self._hooks = hooks
        self._loop = asyncio.get_running_loop()
        self._tries: set[Member] = set()
        self._ended: list[tuple[Member, Ended]] = []
        self._telling: set[asyncio.Task[None]] = set()

    def __str__(self) -> str:
        return f"the breaker {self._rules.name}"

    def concerns(self, task_type: str, _queue: str) -> bool:
        return self._breaker.concerns(task_type)

    async def ask(self, runs: Sequence[Run]) -> Sequence[Verdict]:
        members = [self._member(run) for run in runs]
        answer = await self._link.execute(breakers.ask(self._rules, members))
        self._heed(answer)
        if answer.called:
            self._spawn(self._bring(answer))
        now = clock.now()
        verdicts: list[Verdict] = []
        for member, verdict in zip(members, answer.verdicts, strict=True):
            if verdict == 1:
                self._tries.add(member)
            waits = jsoncodec.dumps(["breaker", self._rules.name, member.key]).decode()
            verdicts.append(Park(now - verdict, waits) if verdict < 0 else None)
        return verdicts

    def unused(self, run: Run) -> None:
        self._note(self._member(run), Ended.NEITHER)

    def ended(self, run: Run, error: BaseException | None) -> None:
        how = Ended.NEITHER
        if run.stop is None or run.stop is Stop.TIMEOUT:
            well = went_well(error, self._is_failure)
            if well is not None:
                how = Ended.SUCCESS if well else Ended.FAILURE
        self._note(self._member(run), how)

    async def start(self) -> None:
        """Make the breaker known to tools."""
        rules = self._rules
        document = {
            "failures": rules.failures,
            "ratio": rules.share,
            "open": rules.open,
            "probes": rules.tries,
            "successes": rules.successes,
            "types": self._breaker.settings.types,
            "key": self._breaker.settings.key,
        }
        try:
            await self._link.execute(breakers.publish({rules.name: jsoncodec.dumps(document)}))
        except BrokerError as error:
            _log.warning("the breaker %s is not shown to tools: %s", rules.name, error)

    async def settled(self) -> None:
        self._flush()
        while self._telling:
            await asyncio.wait(self._telling)

    async def stop(self) -> None:
        self._flush()
        if self._telling:
            await asyncio.wait(self._telling, timeout=_LAST_WORDS)
        for task in self._telling:
            task.cancel()

    def renewals(self, runs: Iterable[Run]) -> list[Op[int]]:
        """What keeps the tries among these runs. Called in any thread."""
        if not self._tries:
            return []
        held = {self._member(run) for run in runs if self in run.gates}
        tries = sorted(held & self._tries.copy(), key=lambda one: one.task)
        return [breakers.renew(self._rules.name, tries)] if tries else []

    def _member(self, run: Run) -> Member:
        return Member(run.key, self._breaker.key_of(run.message))

    def _note(self, member: Member, how: Ended) -> None:
        if how is Ended.NEITHER and member not in self._tries:
            return
        self._tries.discard(member)
        if not self._ended:
            self._loop.call_soon(self._flush)
        self._ended.append((member, how))

    def _flush(self) -> None:
        ended, self._ended = self._ended, []
        for start in range(0, len(ended), constants.BATCH_MAX):
            self._spawn(self._tell(ended[start : start + constants.BATCH_MAX]))

    async def _tell(self, ended: list[tuple[Member, Ended]]) -> None:
        answer = await self._link.execute(breakers.tell(self._rules, ended))
        self._heed(answer)
        await self._bring(answer)

    async def _bring(self, answer: Answer) -> None:
        """Bring those who are called to the head of their queues; who does not come makes way."""
        steps = breakers.bring(self._rules, answer, now_ns=clock.now_ns())
        with suppress(StopIteration):
            ops = next(steps)
            while True:
                ops = steps.send(await self._link.execute_many(ops))

    def _spawn(self, step: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(self._guarded(step))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _guarded(self, step: Coroutine[Any, Any, None]) -> None:
        try:
            await step
        except BrokerError as error:
            # Not again: a failure would be counted twice. Tries are lost, and tasks come by themselves.
            _log.warning("%s was not told how tasks ended: %s", self, error)

    def _heed(self, answer: Answer) -> None:
        for one in answer.changes:
            self._announce(one)

    def _announce(self, change: Change) -> None:
        name = self._rules.name + (f" ({change.key})" if change.key else "")
        level = logging.WARNING if change.state == "open" else logging.INFO
        _log.log(level, "breaker %s was %s and is %s", name, change.before, change.state)
        counting = tally.current()
        if counting is not None:
            counting.add(tally.BREAKERS, self._rules.name, change.state)
        told = BreakerChange(self._rules.name, change.key, change.before, change.state)
        for hook in self._hooks:
            try:
                hook(told)
            except Exception:  # noqa: BLE001 - the user's; the task has ended already
                _log.exception("a hook for breakers failed")
