"""
Writes outcomes to Redis: all that ended in one turn of the loop in one go, at once. While a call is
under way, what ends waits for its answer, and goes out together.

If Redis is away, outcomes are kept and written when it is back, however long that takes: the fence
makes a late one harmless. Leases are renewed meanwhile, for a run is held until it is written.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from qd import clock, failpoint
from qd.broker.async_link import AsyncLink
from qd.errors import BrokerError
from qd.policy.outcome import Action, Outcome, succeeded
from qd.protocol import codec, constants
from qd.protocol.flow import place_of
from qd.protocol.op import Op
from qd.protocol.ops import endings, polls
from qd.protocol.ops.endings import Ending, Fate
from qd.runtime.held import HeldTasks
from qd.runtime.run import Run

if TYPE_CHECKING:
    from qd.runtime.flow_mover import FlowMover

_OPERATIONS: dict[Action, Callable[..., Op[list[Fate]]]] = {
    Action.DONE: endings.done,
    Action.REVOKE: endings.revoke,
    Action.COMPLETE: endings.complete,
    Action.RETRY: endings.retry,
    Action.ARCHIVE: endings.archive,
    Action.PARK: endings.park,
}
_HEEDFUL = (Action.COMPLETE, Action.RETRY, Action.ARCHIVE)
"""How a poll may end, of which somebody may have said meanwhile that it is done."""

_ENDS_OF_LINKS = (Action.COMPLETE, Action.ARCHIVE, Action.REVOKE)

_LONGEST_BACKOFF = 0.4
"""Seconds between two tries at most: an outcome is in Redis half a second after that is back."""

Ended = tuple[Run, Ending]
Lane = tuple[str, Action, bool]
"""Queue, action, and whether the tasks are links of flows."""

Batch = tuple[Lane, list[Ended]]
OnWritten = Callable[[Action, list[Ended]], None]


class Finisher:
    """
    Collects outcomes and writes them under the fence. *is_poll* tells polls; None: there are none.

    Flows are moved on whose links have ended.
    """

    def __init__(
        self,
        link: AsyncLink,
        owner: str,
        held: HeldTasks,
        on_written: OnWritten | None = None,
        is_poll: Callable[[Run], bool] | None = None,
        *,
        queue_prefix: str = "",
    ) -> None:
        self._link = link
        self._on_written = on_written
        self._is_poll = is_poll
        self._queue_prefix = queue_prefix
        self._flows: FlowMover | None = None
        self._owner = owner
        self._held = held
        self._loop = asyncio.get_running_loop()
        self._buckets: dict[Lane, list[Ended]] = {}
        self._writer: asyncio.Task[None] | None = None
        self._writing: set[asyncio.Task[None]] = set()
        self._log = logging.getLogger("qd.finisher")

    def add(self, run: Run, outcome: Outcome, result: bytes | None = None) -> None:
        """Write the outcome of a run in the next turn of the loop, or when a call has its answer."""
        ending = _ending(run, outcome, result, clock.now())
        action = outcome.action
        # What is forgotten at its end, or goes on, need not be looked at: links are kept.
        is_link = action in _ENDS_OF_LINKS and place_of(run.message) is not None
        self._collect(run, action, ending, is_link=is_link)

    def add_raw(self, run: Run) -> None:
        """Archive a task whose message cannot be read: by its id, bytes unchanged."""
        self._collect(run, Action.ARCHIVE, Ending(run.held))

    def park(self, run: Run, until: float, waits: str) -> None:
        """Let a task that has not run wait, until *until* (Unix seconds) or until it is called."""
        self._collect(run, Action.PARK, Ending(run.held, at=math.ceil(until), waits=waits))

    async def put_back(self, queue: str, runs: list[Run]) -> list[Run]:
        """
        Put tasks of one queue back at the head of its line, uncharged; returns those that are there.
        Left alone are those that have ended: they have an outcome, which is on its way.

        Raises:
            BrokerError: Redis is away; some may be back, the others are still held.
        """
        written: list[Run] = []
        runs = [run for run in runs if not run.ended]
        while runs:
            sent = [run.held for run in runs]
            step = endings.requeue(queue, self._owner, sent, now_ns=clock.now_ns())
            fates = await self._link.execute(step)
            written += [run for run, fate in zip(runs, fates, strict=True) if fate is Fate.OK]
            # Stale to Redis, but only because the heartbeat renewed the lease at the same time.
            runs = [
                run
                for run, held, fate in zip(runs, sent, fates, strict=True)
                if fate is Fate.STALE and run.held != held
            ]
        return written

    def _collect(self, run: Run, action: Action, ending: Ending, *, is_link: bool = False) -> None:
        self._buckets.setdefault((run.queue, action, is_link), []).append((run, ending))
        if self._writer is None:
            self._writer = self._start(self._write_all())

    async def written(self) -> None:
        """Wait until all outcomes are in Redis, however long that takes."""
        while self._writing:
            await asyncio.wait(self._writing)

    async def drain(self, within: float) -> int:
        """Wait until all is written, at most *within* seconds; return how many are not."""
        until = self._loop.time() + within
        # What could not be written at once goes on in a task of its own.
        while self._writing and (left := until - self._loop.time()) > 0:
            await asyncio.wait(self._writing, timeout=left)
        for task in self._writing:
            task.cancel()
        if self._flows is not None:
            await self._flows.drain(max(0.0, until - self._loop.time()))
        return len(self._held)

    def _start(self, writing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(writing)
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return task

    async def _write_all(self) -> None:
        try:
            while self._buckets:
                buckets, self._buckets = self._buckets, {}
                batches = [
                    (lane, ended[start : start + constants.BATCH_MAX])
                    for lane, ended in buckets.items()
                    for start in range(0, len(ended), constants.BATCH_MAX)
                ]
                if left := await self._write(batches):
                    # What has trouble with its queue holds up nobody else.
                    self._start(self._write_again(left))
        finally:
            self._writer = None

    async def _write_again(self, batches: list[Batch]) -> None:
        attempt = 0
        while batches:
            await asyncio.sleep(min(0.05 * 2 ** min(attempt, 8), _LONGEST_BACKOFF))
            batches = await self._write(batches, repeated=True)
            attempt += 1

    async def _write(self, batches: list[Batch], *, repeated: bool = False) -> list[Batch]:
        """Write outcomes; return those that must be written again."""
        try:
            failpoint.hit("ending.before")
            answers = await self._link.execute_each([self._op(*batch) for batch in batches])
            failpoint.hit("ending.after")
        except Exception as error:  # noqa: BLE001 - an outcome outlives every mistake
            if not isinstance(error, BrokerError):
                self._log.exception("outcomes could not be written")
            answers = [error] * len(batches)
        left: list[Batch] = []
        for batch, answer in zip(batches, answers, strict=True):
            if isinstance(answer, Exception):
                if not repeated:
                    self._log.warning("%d outcomes wait to be written: %s", len(batch[1]), answer)
                left.append(batch)
            elif renewed := self._settle(batch, answer, repeated=repeated):
                left.append((batch[0], renewed))
        return left

    def _op(self, lane: Lane, ended: list[Ended]) -> Op[list[Fate]]:
        queue, action, are_links = lane
        now = clock.now()
        for run, ending in ended:
            # As it is now: the heartbeat may renew it while the answer is on its way.
            ending.held = run.held
        day = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
        op = _OPERATIONS[action](
            queue, self._owner, [ending for _, ending in ended], day=day, now=int(now)
        )
        is_poll = self._is_poll
        if is_poll is not None and action in _HEEDFUL and any(is_poll(run) for run, _ in ended):
            # Polls that are links leave no note: should this process die now, a scheduler sees it later.
            terms = [run.message.terms for run, _ in ended]
            return polls.heed(op, queue, terms, day=day, now=int(now))
        if not are_links:
            return op
        # Imported by those who run links; all others start sooner without.
        from qd.protocol.ops.flows import noting_ends

        return noting_ends(op, queue, now=now)

    def _settle(self, batch: Batch, fates: list[Fate], *, repeated: bool) -> list[Ended]:
        """Let go of what is written; return what must be asked again."""
        (queue, action, are_links), ended = batch
        renewed = []
        for (run, ending), fate in zip(ended, fates, strict=True):
            if fate is not Fate.OK:
                if fate is Fate.STALE and ending.held != run.held:
                    # Stale only because the heartbeat renewed the lease at the same time.
                    renewed.append((run, ending))
                    continue
                self._say(action, run, ending, fate, repeated=repeated)
            self._held.discard(run)
        if self._on_written is not None:
            written = [one for one, fate in zip(ended, fates, strict=True) if fate is Fate.OK]
            self._on_written(action, written)
        if are_links:
            ends = zip(ended, fates, strict=True)
            known = [run.message.id for (run, _), fate in ends if fate in (Fate.OK, Fate.TOLD)]
            if known:
                self._mover().ended(queue, known)
        return renewed

    async def flows_settled(self) -> None:
        """Wait until the flows whose links have ended are moved on."""
        if self._flows is not None:
            await self._flows.settled()

    def _mover(self) -> FlowMover:
        if self._flows is None:
            from qd.runtime.flow_mover import FlowMover

            self._flows = FlowMover(self._link, self._queue_prefix)
        return self._flows

    def _say(self, action: Action, run: Run, ending: Ending, fate: Fate, *, repeated: bool) -> None:
        """Tell of an outcome that was not recorded as it was decided."""
        if fate is Fate.TOLD:
            self._log.info("task %s in %s is done: somebody has said so", run.message.id, run.queue)
            if self._on_written is not None:
                self._on_written(succeeded(run.message.terms.retention).action, [(run, ending)])
        elif fate is Fate.STALE or not repeated:
            # The task went on without us: taken over, or deleted by somebody.
            self._log.warning(
                "outcome %s of task %s in %s was not recorded: %s",
                action,
                run.message.id,
                run.queue,
                "another worker has it" if fate is Fate.STALE else "it no longer exists",
            )


def _headers_after(run: Run) -> tuple[tuple[str, str], ...]:
    """The task's headers with what its run wants the next one to know."""
    before = run.message.terms.headers
    carried = run.context.carried if run.context is not None else None
    return tuple({**dict(before), **carried}.items()) if carried else before


def _ending(run: Run, outcome: Outcome, result: bytes | None, now: float) -> Ending:
    message, terms = run.message, run.message.terms
    action: Any = outcome.action
    if action in (Action.DONE, Action.REVOKE):
        return Ending(run.held, unique_key=terms.unique_key)
    if action is Action.COMPLETE:
        completed = codec.with_terms(message, completed_at=int(now))
        return Ending(
            run.held,
            unique_key=terms.unique_key,
            message=codec.encode_task(completed),
            at=int(now) + terms.retention,
            result=result,
        )
    counted = action is Action.RETRY and outcome.is_failure
    changed = codec.with_terms(
        message,
        retried=terms.retried + 1 if counted else terms.retried,
        error=outcome.error,
        last_failed_at=int(now),
        headers=_headers_after(run),
    )
    # Rounded up: a delay of half a second must not become none.
    at = int(now + outcome.delay) + (1 if (now + outcome.delay) % 1 else 0)
    return Ending(
        run.held,
        message=codec.encode_task(changed),
        at=at,
        is_failure=outcome.is_failure,
    )
