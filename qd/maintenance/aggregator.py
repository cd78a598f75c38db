"""
Merges the tasks of a group into one: asynq's aggregator.

A group is ripe when it is full, when its first task has waited long enough, or when no task has come
for a while. Its tasks are then staged as a set that this process has two minutes for; the function
that the application registered makes one task of them, and in one script that task comes in and
they go. If anything fails before, the recoverer puts the set back into its group.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
import uuid
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from qd import clock, failpoint
from qd.broker.async_link import AsyncLink
from qd.client.compose import Composed, Composer
from qd.config.model import GroupSettings
from qd.errors import BrokerError, DecodeError, UsageError
from qd.handlers.options import TaskOptions
from qd.handlers.task import Task
from qd.maintenance.counters import Counters
from qd.maintenance.each_queue import EachQueue, Troubles
from qd.protocol import codec, constants, keys
from qd.protocol.ops import groups
from qd.protocol.ops.groups import Aggregated
from qd.service import Service

Merge = Callable[[str, list[Task]], Any]
"""(group, tasks) -> (type, payload) or (type, payload, options); may be a coroutine function."""

_LONGEST_INTERVAL = 7.0
_AT_ONCE = 3
"""Sets in work at a time, as in asynq."""

_SLICE = 100
_TIME_LIMIT = constants.AGGREGATION_TIMEOUT - 5.0
_STOP_LIMIT = 5.0
"""Seconds that a stop waits for sets in work; the others are put back after two minutes."""


class Aggregator:
    """The loop. *merges* are patterns of group names with their functions; the first match counts."""

    def __init__(
        self,
        link: AsyncLink,
        queues: Sequence[str],
        merges: Sequence[tuple[str, Merge]],
        *,
        settings: GroupSettings,
        composer: Composer,
        queue_prefix: str,
        options_of: Callable[[str], TaskOptions],
        counts: Counters,
    ) -> None:
        self._link = link
        self._merges = list(merges)
        self._settings = settings
        self._composer = composer
        self._queue_prefix = queue_prefix
        self._options_of = options_of
        self._counts = counts
        self._in_work: set[asyncio.Task[None]] = set()
        # Groups were left out for want of room: when a set is done, the next step comes at once.
        self._more = False
        self._log = logging.getLogger("qd.aggregator")
        self._troubles = Troubles(self._log)
        self._each = EachQueue(link, queues, self._log)
        limits = (settings.grace_period, settings.max_delay or _LONGEST_INTERVAL)
        self._interval = max(min(_LONGEST_INTERVAL, *limits), 1.0)
        self._service = Service("aggregator", lambda: self.step(clock.now()))

    def start(self) -> None:
        if self._merges:
            self._service.start()

    async def stop(self) -> None:
        await self._service.stop()
        if self._in_work:
            await asyncio.wait(self._in_work, timeout=_STOP_LIMIT)
        for task in self._in_work:
            task.cancel()
        await asyncio.gather(*self._in_work, return_exceptions=True)

    async def step(self, now: float) -> float:
        """Stage the groups that are ripe at *now* and begin to merge them; returns seconds to wait."""
        if await self._each.any_of(keys.groups):
            await self._each.run(lambda queue: self._check(queue, now))
        return self._interval

    async def has_groups(self) -> bool:
        """True if there is a group that will be merged one day."""
        found: list[str] = []

        async def look(queue: str) -> None:
            names = await self._link.execute(groups.names(queue))
            found.extend(names)

        if self._merges:
            await self._each.run(look)
        return any(self._merge_for(group) for group in found)

    async def idle(self) -> None:
        """Wait until no set is in work."""
        while self._in_work:
            await asyncio.wait(self._in_work)

    async def _check(self, queue: str, now: float) -> None:
        names = await self._link.execute(groups.names(queue))
        # In another order each time: no group is always the last.
        for group in random.sample(names, len(names)):
            merge = self._merge_for(group)
            # A full group may hold several sets.
            while merge is not None:
                if len(self._in_work) >= _AT_ONCE:
                    self._more = True
                    return
                set_id = str(uuid.uuid4())
                staged = await self._link.execute(
                    groups.check(
                        queue,
                        group,
                        set_id,
                        max_size=self._settings.max_size,
                        max_delay=int(self._settings.max_delay),
                        grace=int(self._settings.grace_period),
                        now=int(now),
                    )
                )
                if not staged:
                    break
                work = asyncio.create_task(self._work(queue, group, set_id, merge))
                self._in_work.add(work)
                work.add_done_callback(self._ended)

    def _ended(self, work: asyncio.Task[None]) -> None:
        self._in_work.discard(work)
        if self._more:
            self._more = False
            self._service.wake()

    def _merge_for(self, group: str) -> Merge | None:
        return next((merge for pattern, merge in self._merges if fnmatchcase(group, pattern)), None)

    async def _work(self, queue: str, group: str, set_id: str, merge: Merge) -> None:
        """Make one task of a set. Whatever goes wrong, the set is left for the recoverer."""
        name = f"group {group!r} of {queue}"
        try:
            async with asyncio.timeout(_TIME_LIMIT):
                failpoint.hit("aggregate.staged")
                tasks = await self._read(queue, group, set_id)
                if not tasks:
                    return
                failpoint.hit("aggregate.read")
                made = await self._merge(merge, group, tasks)
                composed = self._compose(queue, made)
                failpoint.hit("aggregate.before")
                done = await self._link.execute(
                    groups.aggregate(
                        queue,
                        group,
                        set_id,
                        composed.new,
                        composed.state,
                        now_ns=clock.now_ns(),
                    )
                )
                failpoint.hit("aggregate.after")
        except TimeoutError:
            self._log.error(
                "%s was not merged within %.0f s; its tasks are put back", name, _TIME_LIMIT
            )
            return
        except BrokerError as error:
            self._log.warning("%s was not merged, its tasks are put back: %s", name, error)
            return
        except Exception as error:  # noqa: BLE001 - the user's function; the tasks are safe
            self._troubles.failed(name, error)
            return
        self._troubles.well(name)
        self._report(name, done, len(tasks), composed)

    def _report(self, name: str, done: Aggregated, count: int, composed: Composed) -> None:
        if done is Aggregated.DONE:
            self._counts.aggregated += 1
            self._log.info("merged %d tasks of %s into %s", count, name, composed.new.id)
        else:
            reason = {
                Aggregated.GONE: "they were put back before it was done",
                Aggregated.ID_IN_USE: f"the id {composed.new.id!r} is in use; they are put back",
                Aggregated.LOCK_HELD: "an equal unique task exists; they are put back",
            }[done]
            self._log.warning("%d tasks of %s were not merged: %s", count, name, reason)

    async def _read(self, queue: str, group: str, set_id: str) -> list[Task]:
        """The tasks of a set in order of time; what nobody can read goes to the dead letters."""
        tasks: list[Task] = []
        unreadable: list[str] = []
        offset = 0
        while True:
            found, seen = await self._link.execute(
                groups.read_set(queue, group, set_id, offset=offset, limit=_SLICE)
            )
            if not seen:
                break
            offset += seen
            for task_id, message in found:
                try:
                    tasks.append(Task(codec.decode_task(message)))
                except DecodeError as error:
                    self._log.error("task %s in %s is archived as it is: %s", task_id, queue, error)
                    unreadable.append(task_id)
        for start in range(0, len(unreadable), _SLICE):
            part = unreadable[start : start + _SLICE]
            await self._link.execute(groups.expel(queue, group, set_id, part, now=int(clock.now())))
            self._counts.archived += len(part)
        return tasks

    async def _merge(self, merge: Merge, group: str, tasks: list[Task]) -> Any:
        if inspect.iscoroutinefunction(merge):
            return await merge(group, tasks)
        made = await asyncio.to_thread(merge, group, tasks)
        return await made if inspect.isawaitable(made) else made

    def _compose(self, queue: str, made: Any) -> Composed:
        if not isinstance(made, tuple) or len(made) not in (2, 3):
            raise UsageError(
                f"an aggregator returned {type(made).__name__}, which is no task",
                hint="Return (type, payload) or (type, payload, options).",
            )
        task_type, payload, *rest = made
        given = rest[0] if rest else {}
        options = given if isinstance(given, TaskOptions) else TaskOptions.of(**given)
        # One script can only reach one queue, so the new task stays in its group's.
        forced = TaskOptions(queue=queue.removeprefix(self._queue_prefix))
        options = forced.over(options.over(self._options_of(task_type)))
        return self._composer.compose(task_type, payload, options, now=clock.now())
