"""
The gate of polls that have a key: of those with the same id, one looks at a time, over all hosts.

The lock is a named one. Its owner is the task and the run, so it is known whose it is when a process has died:
who finds it held asks whether that task still runs, and takes the lock if it does not. A task that runs
again takes over its own at once. The ttl is for what nobody comes to ask about.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from qd import clock, jsoncodec
from qd.broker.async_link import AsyncLink
from qd.errors import BrokerError
from qd.handlers.routing import Router
from qd.protocol import keys, polling
from qd.protocol.op import Op
from qd.protocol.ops import locks, polls
from qd.protocol.state import TaskState
from qd.runtime.admission import Park, Verdict
from qd.runtime.run import Run

_LAST_WORDS = 1.0
"""Seconds for what is still to be released when the worker stops."""

_RENEWED_WITHIN = 0.25
"""Part of the ttl after which a lock is extended."""

_log = logging.getLogger("qd.polls")


class _Look(Struct):
    """
    The lock that a run wants or has: that of the id *value* for the handler of *pattern*.

    *task* and a word of its own are the *owner*. It comes again after *delay* seconds if it must wait.
    """

    name: str
    pattern: str
    value: str
    task: str
    owner: str
    delay: float
    renewed_at: float


class PollGate:
    """*ttl* in seconds. *link* is that on which outcomes are sent."""

    def __init__(self, router: Router, link: AsyncLink, *, ttl: float, queue_prefix: str) -> None:
        self._router = router
        self._link = link
        self._ttl = ttl
        self._ttl_ms = int(ttl * 1000)
        self._queue_prefix = queue_prefix
        self._loop = asyncio.get_running_loop()
        # Read by the thread of the heartbeat.
        self._looks: dict[Run, _Look] = {}
        self._released: list[_Look] = []
        self._releasing: set[asyncio.Task[None]] = set()

    def __str__(self) -> str:
        return "the locks of polls"

    def concerns(self, task_type: str, _queue: str) -> bool:
        handler = self._router.find(task_type)
        return handler is not None and handler.poll is not None and bool(handler.poll.key)

    async def ask(self, runs: Sequence[Run]) -> Sequence[Verdict]:
        wanted = {run: look for run in runs if (look := self._look_of(run)) is not None}
        taken = await self._link.execute_many([self._acquiring(one) for one in wanted.values()])
        held = {run: look for (run, look), ok in zip(wanted.items(), taken, strict=True) if not ok}
        holders = await self._take_over(held) if held else {}
        self._looks.update({run: look for run, look in wanted.items() if run not in holders})
        return [_park(wanted[run], holders[run]) if run in holders else None for run in runs]

    def unused(self, run: Run) -> None:
        self._release(run)

    def ended(self, run: Run, _error: BaseException | None) -> None:
        # Also where the lease is lost: who has the task now has the lock under another name.
        self._release(run)

    async def start(self) -> None:
        """There is nothing to begin with."""

    async def settled(self) -> None:
        self._flush()
        while self._releasing:
            await asyncio.wait(self._releasing)

    async def stop(self) -> None:
        self._flush()
        if self._releasing:
            await asyncio.wait(self._releasing, timeout=_LAST_WORDS)
        for task in self._releasing:
            task.cancel()

    def renewals(self, runs: Iterable[Run]) -> list[Op[Any]]:
        """What keeps the locks of these runs, as far as it is time. Called in any thread."""
        now = time.monotonic()
        due = []
        for run in runs:
            look = self._looks.get(run)
            if look is not None and now - look.renewed_at >= _RENEWED_WITHIN * self._ttl:
                look.renewed_at = now
                due.append(locks.extend(look.name, look.owner, ttl_ms=self._ttl_ms))
        return due

    def _look_of(self, run: Run) -> _Look | None:
        if run in self._looks:  # asked again: it is the same attempt
            return self._looks[run]
        handler = self._router.find(run.message.type)
        poll = None if handler is None else handler.poll
        value = "" if poll is None else poll.lock_of(run.message)
        if handler is None or poll is None or not value:
            return None
        before = polling.read(run.message.terms.headers)
        return _Look(
            name=f"{self._queue_prefix}poll:{handler.pattern}:{value}",
            pattern=handler.pattern,
            value=value,
            task=run.key,
            owner=f"{run.key} {uuid.uuid4().hex}",
            delay=poll.rules.delay(0 if before is None else before.looks),
            renewed_at=time.monotonic(),
        )

    def _acquiring(self, look: _Look, dead: str = "") -> Op[bool]:
        return locks.acquire(look.name, look.owner, ttl_ms=self._ttl_ms, dead=dead)

    async def _take_over(self, held: dict[Run, _Look]) -> dict[Run, str]:
        """Take the locks of those who run no more; returns the others with the holders of theirs."""
        owners = await self._link.execute_many([locks.holder(one.name) for one in held.values()])
        others = [_task_of(owner) for owner in owners]
        states = await self._link.execute_many(
            [polls.state(keys.queue_of(task), _id_of(task)) for task in others if task]
        )
        found = iter(states)
        dead = [
            owner if task and (next(found) != TaskState.ACTIVE or task == look.task) else ""
            for owner, task, look in zip(owners, others, held.values(), strict=True)
        ]
        steps = [self._acquiring(look, by) for look, by in zip(held.values(), dead, strict=True)]
        taken = await self._link.execute_many(steps)
        return {
            run: _id_of(task) if task else ""
            for run, task, ok in zip(held, others, taken, strict=True)
            if not ok
        }

    def _release(self, run: Run) -> None:
        look = self._looks.pop(run, None)
        if look is None:
            return
        if not self._released:
            # Before the outcome, on the same connection: no lock is left behind by a task that is gone.
            self._loop.call_soon(self._flush)
        self._released.append(look)

    def _flush(self) -> None:
        released, self._released = self._released, []
        if released:
            task = self._loop.create_task(self._give_back(released))
            self._releasing.add(task)
            task.add_done_callback(self._releasing.discard)

    async def _give_back(self, released: list[_Look]) -> None:
        try:
            await self._link.execute_many([locks.release(one.name, one.owner) for one in released])
        except BrokerError as error:
            # Who wants one finds that its task does not run any more.
            _log.warning("%d locks of polls were not released: %s", len(released), error)


def _park(look: _Look, holder: str) -> Park:
    waits = ["poll", look.pattern, look.value, holder]
    return Park(clock.now() + look.delay, jsoncodec.dumps(waits).decode())


def _task_of(owner: str) -> str:
    """The task that an owner stands for; empty for others who hold locks."""
    task = owner.rpartition(" ")[0]
    return task if task.startswith(keys.BY_QUEUE) else ""


def _id_of(task: str) -> str:
    return task[len(keys.task_prefix(keys.queue_of(task))) :]
