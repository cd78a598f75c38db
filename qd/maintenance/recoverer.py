"""
Takes back tasks whose lease has run out, and what aggregators and evictions left behind.

A worker of qd that lost its lease died with its host or is cut off from Redis: its task goes back to
the head of the line, uncharged, but the death is counted. A Go server's task is treated as asynq's
recoverer does: an attempt has failed. A worker that finds its way back can end nothing any more:
every step here takes the lease away that it would need.

Leases end by the clock of Redis. After an outage they are judged only when their holders could renew
them, see `contact.py`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from qd import clock, failpoint
from qd.broker.async_link import AsyncLink
from qd.errors import BrokerError, BrokerUnavailable, DecodeError, LeaseLost
from qd.handlers.retries import RetryRules
from qd.maintenance.contact import Contact
from qd.maintenance.counters import Counters
from qd.maintenance.each_queue import EachQueue, Troubles
from qd.maintenance.neighbours import Neighbours
from qd.maintenance.redis_clock import time_of
from qd.policy import outcome
from qd.policy.outcome import Action
from qd.protocol import codec, constants, keys
from qd.protocol.message import TaskMessage
from qd.protocol.op import Op
from qd.protocol.ops import endings, groups, upkeep
from qd.protocol.ops.endings import Ending, Fate, Held
from qd.protocol.ops.upkeep import Orphan, Recovered
from qd.service import Service

_SLICE = 100
_SLICES = 50
"""Slices per queue and step: a dead host may have held many."""

_SETS = 10
"""Aggregation sets per call; each may be large."""

_UNLEASED_EVERY = 30.0
"""Seconds between two looks for active tasks that lost their lease; found twice, they are adopted."""

_UNLEASED_SLICE = 500

_CAUSE = "lease expired"


class Recoverer:
    """The loop. *interval* is in seconds; *rules* say when a failed task is tried again."""

    def __init__(
        self,
        link: AsyncLink,
        queues: Sequence[str],
        rules: RetryRules,
        *,
        interval: float,
        counts: Counters,
    ) -> None:
        self._link = link
        self._rules = rules
        self._interval = interval
        self._counts = counts
        self._contacts = {queue: Contact(long=True) for queue in queues}
        self._unleased_at = 0.0
        self._unleased: dict[str, set[str]] = {}
        self._log = logging.getLogger("qd.recoverer")
        self._each = EachQueue(link, queues, self._log)
        self._neighbours = Neighbours(link, queues)
        self._troubles = Troubles(self._log)
        self._service = Service("recoverer", self._look)

    def start(self) -> None:
        # Redis may be back for no longer than this process is at work.
        self._contacts = {queue: Contact() for queue in self._contacts}
        self._service.start()

    async def stop(self) -> None:
        await self._service.stop()

    async def _look(self) -> float:
        return await self.step(await time_of(self._link))

    async def step(self, now: float) -> float:
        """Take back what is lost at *now* (Unix seconds); returns the seconds until the next step."""
        if not await self._each.any_of(keys.active, keys.lease, keys.aggregation_sets):
            # Nothing that is taken from now on can be lost before its lease ends.
            pause = max(self._interval, float(constants.LEASE))
            self._looked(self._contacts, now + pause)
            return pause
        look_for_unleased = not self._unleased_at - _UNLEASED_EVERY <= now < self._unleased_at

        await self._bury()
        began = time.monotonic()
        answered: list[str] = []

        async def one_queue(queue: str) -> None:
            if self._contacts[queue].may_judge(now):
                if look_for_unleased:
                    await self._adopt(queue, now)
                await self._recover(queue, now)
            while await self._reclaim(queue, now) == _SETS:
                pass
            answered.append(queue)

        try:
            await self._each.run(one_queue)
        finally:
            # What there was much to do in was no outage.
            self._looked(answered, now + (time.monotonic() - began) + self._interval)
        if look_for_unleased:
            self._unleased_at = now + _UNLEASED_EVERY
        return self._interval

    def _looked(self, queues: Iterable[str], next_at: float) -> None:
        for queue in queues:
            self._contacts[queue].looked(next_at)

    async def _bury(self) -> None:
        """A proof of death needs no lease that has ended, nor any patience."""
        what = "the look for dead processes of this machine"
        try:
            await self._neighbours.bury(clock.now())
        except BrokerUnavailable:
            raise
        except BrokerError as error:
            self._troubles.failed(what, error)
        else:
            self._troubles.well(what)

    async def _recover(self, queue: str, now: float) -> None:
        for _ in range(_SLICES):
            orphans = await self._link.execute(upkeep.expired(queue, now=int(now), limit=_SLICE))
            if not orphans or not await self._settle(queue, orphans, now):
                break

    async def _settle(self, queue: str, orphans: list[Orphan], now: float) -> bool:
        """Give each task its end; False if none of them has moved, so that nobody loops on them."""
        work = _Work(queue, now)
        for orphan in orphans:
            if not orphan.message:
                work.add_ghost(orphan)
                continue
            try:
                message = codec.decode_task(orphan.message)
            except DecodeError as error:
                self._log.error("task %s in %s is archived as it is: %s", orphan.id, queue, error)
                work.add_unreadable(orphan)
                continue
            if orphan.owner:
                work.add_own(orphan, message)
            else:
                work.add_foreign(orphan, message, self._rules.safe_delay(message, LeaseLost()))
        steps = work.steps()
        failure: BaseException | None = None
        moved = False
        failpoint.hit("recover.before")
        answers = await self._link.execute_each(steps)
        failpoint.hit("recover.after")
        for step, answer in zip(steps, answers, strict=True):
            if isinstance(answer, BaseException):
                failure = failure or answer
            else:
                moved = self._record(queue, step.name, answer) or moved
        if failure is not None:
            raise failure
        return moved

    def _record(self, queue: str, step: str, answer: Any) -> bool:
        """Count and tell what became of the tasks of one step."""
        if step == "drop_ghost":
            self._counts.ghosts += answer
            if answer:
                self._log.warning("dropped an active id of %s that has no task", queue)
            return bool(answer)
        if step == "recover":
            back, poison = answer.count(Recovered.BACK), answer.count(Recovered.POISON)
            self._counts.put_back += back
            self._counts.archived += poison
            if back:
                self._log.warning("put back %d tasks of %s: their leases expired", back, queue)
            if poison:
                self._log.error(
                    "archived %d tasks of %s: %d workers were lost while they held each of them",
                    poison, queue, constants.POISON_DEATHS_IN_COMPANY,
                )  # fmt: skip
            return bool(back + poison)
        done = answer.count(Fate.OK)
        if step == "retry":
            self._counts.retried += done
        else:
            self._counts.archived += done
        if done:
            verb = "will retry" if step == "retry" else "archived"
            self._log.warning("%s %d tasks of %s: their leases expired", verb, done, queue)
        return bool(done)

    async def _reclaim(self, queue: str, now: float) -> int:
        count = await self._link.execute(groups.reclaim(queue, now=int(now), limit=_SETS))
        self._counts.reclaimed += count
        if count:
            self._log.warning(
                "put %d sets of %s back into their groups: nobody finished them", count, queue
            )
        return count

    async def _adopt(self, queue: str, now: float) -> None:
        """
        Give active tasks that have no lease one that is over.

        A lease is lost by an eviction, a restore or a hand on the keys. Seen once it may be on its
        way back: a worker of qd renews it within seconds.
        """
        found: set[str] = set()
        offset = 0
        while True:
            seen, ids = await self._link.execute(
                upkeep.unleased(queue, offset=offset, limit=_UNLEASED_SLICE)
            )
            found.update(ids)
            offset += seen
            if seen < _UNLEASED_SLICE:
                break
        twice = sorted(found & self._unleased.get(queue, set()))
        for start in range(0, len(twice), _SLICE):
            part = twice[start : start + _SLICE]
            adopted = await self._link.execute(upkeep.adopt(queue, part, now=int(now)))
            self._counts.adopted += adopted
            if adopted:
                self._log.warning("%d active tasks of %s had lost their lease", adopted, queue)
        self._unleased[queue] = found


class _Work:
    """What is to be done with the tasks of one slice, gathered into few steps."""

    def __init__(self, queue: str, now: float) -> None:
        self._queue = queue
        self._now = now
        self._now_s = int(now)
        self._ghosts: list[Orphan] = []
        self._own: list[tuple[Orphan, bytes]] = []
        self._retries: list[Ending] = []
        self._archived: dict[str, list[Ending]] = {}

    def add_ghost(self, orphan: Orphan) -> None:
        self._ghosts.append(orphan)

    def add_unreadable(self, orphan: Orphan) -> None:
        """Archived by its id; its bytes are kept, whoever held it."""
        self._archived.setdefault(orphan.owner, []).append(Ending(_held(orphan)))

    def add_own(self, orphan: Orphan, message: TaskMessage) -> None:
        error = f"{constants.LEASE_EXPIRED}: {constants.POISON_DEATHS_IN_COMPANY} workers were lost with it"
        self._own.append((orphan, self._failed(message, error, counted=False)))

    def add_foreign(self, orphan: Orphan, message: TaskMessage, delay: float) -> None:
        terms = message.terms
        decided = outcome.failed(
            LeaseLost(), retried=terms.retried, max_retry=terms.max_retry, delay=lambda: delay
        )
        is_retry = decided.action is Action.RETRY
        changed = self._failed(message, decided.error, counted=is_retry)
        if is_retry:
            # Rounded up: a delay of half a second must not become none.
            at = math.ceil(self._now + decided.delay)
            self._retries.append(Ending(_held(orphan), message=changed, at=at))
        else:
            self._archived.setdefault("", []).append(Ending(_held(orphan), message=changed))

    def _failed(self, message: TaskMessage, error: str, *, counted: bool) -> bytes:
        retried = message.terms.retried + counted
        changed = codec.with_terms(
            message, retried=retried, error=error, last_failed_at=self._now_s
        )
        return codec.encode_task(changed)

    def steps(self) -> list[Op[Any]]:
        queue, now = self._queue, self._now_s
        day = datetime.fromtimestamp(self._now, UTC).strftime("%Y-%m-%d")
        steps: list[Op[Any]] = [upkeep.drop_ghost(queue, one.id) for one in self._ghosts]
        if self._own:
            now_ns = int(self._now * 1_000_000_000)
            steps.append(upkeep.recover(queue, self._own, cause=_CAUSE, day=day, now_ns=now_ns))
        if self._retries:
            steps.append(endings.retry(queue, "", self._retries, day=day, now=now))
        steps += [
            endings.archive(queue, owner, ended, day=day, now=now)
            for owner, ended in self._archived.items()
        ]
        return steps


def _held(orphan: Orphan) -> Held:
    # Exactly the lease that was listed: one that was renewed since is somebody's own.
    return Held(orphan.id, orphan.score, orphan.score)
