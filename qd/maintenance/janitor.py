"""Deletes what was kept long enough: completed tasks, and explicit dead letters."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from qd import clock, failpoint
from qd.broker.async_link import AsyncLink
from qd.client.client import DEAD_LETTER_QUEUE, DEAD_LETTER_TYPE
from qd.errors import DecodeError
from qd.maintenance.counters import Counters
from qd.maintenance.each_queue import EachQueue
from qd.protocol import codec, constants, keys
from qd.protocol.ops import inspect_tasks, upkeep
from qd.protocol.ops.inspect import Container
from qd.protocol.ops.inspect_tasks import Verdict
from qd.protocol.state import TaskState
from qd.service import Service

_SLICES = 100
"""Slices per queue and step; the rest follows at once, in the next one."""

_LETTERS_EVERY = 600.0
"""Seconds between two searches for old dead letters, which look at all that is old."""

_LETTERS_SLICE = 100


class Janitor:
    """The loop. *interval* is in seconds, *batch* the tasks deleted in one call."""

    def __init__(
        self,
        link: AsyncLink,
        queues: Sequence[str],
        *,
        queue_prefix: str,
        interval: float,
        batch: int,
        counts: Counters,
    ) -> None:
        self._link = link
        self._dead_letters = queue_prefix + DEAD_LETTER_QUEUE
        self._interval = interval
        self._batch = batch
        self._counts = counts
        self._letters_at = 0.0
        self._backlog = False
        self._log = logging.getLogger("qd.janitor")
        self._each = EachQueue(link, queues, self._log)
        self._letters = EachQueue(link, [self._dead_letters], self._log)
        self._service = Service("janitor", lambda: self.step(clock.now()))

    def start(self) -> None:
        self._service.start()

    async def stop(self) -> None:
        await self._service.stop()

    async def step(self, now: float) -> float:
        """Delete what is over at *now*; returns the seconds until the next step."""
        self._backlog = False
        if await self._each.any_of(keys.completed):
            await self._each.run(lambda queue: self._delete_completed(queue, int(now)))
        if not self._letters_at - _LETTERS_EVERY <= now < self._letters_at:
            await self._letters.run(lambda queue: self._delete_letters(queue, int(now)))
            self._letters_at = now + _LETTERS_EVERY
        return 0.0 if self._backlog else self._interval

    async def _delete_completed(self, queue: str, now: int) -> None:
        step = upkeep.delete_expired_completed(queue, now=now, limit=self._batch)
        deleted = 0
        for _ in range(_SLICES):
            failpoint.hit("delete_expired.before")
            found = await self._link.execute(step)
            failpoint.hit("delete_expired.after")
            deleted += found
            if found < self._batch:
                break
        else:
            self._backlog = True
        self._count(deleted, "completed tasks", queue)

    async def _delete_letters(self, queue: str, now: int) -> None:
        """Tasks of the user that were archived in this queue stay, as they do in all others."""
        until = now - constants.DEAD_LETTER_KEEP
        archived = Container(queue, TaskState.ARCHIVED)
        offset = deleted = 0
        while True:
            seen, candidates = await self._link.execute(
                upkeep.old_archived(
                    queue, DEAD_LETTER_TYPE, until=until, offset=offset, limit=_LETTERS_SLICE
                )
            )
            explicit = [(task_id, "") for task_id, message in candidates if _is_explicit(message)]
            gone = 0
            if explicit:
                verdicts = await self._link.execute(inspect_tasks.delete(archived, explicit))
                gone = sum(one is Verdict.DONE for one in verdicts)
            deleted += gone
            if seen < _LETTERS_SLICE:
                break
            # What was deleted does not stand in the way of the next slice any more.
            offset += seen - gone
        self._count(deleted, "dead letters", queue)

    def _count(self, deleted: int, what: str, queue: str) -> None:
        self._counts.deleted += deleted
        if deleted:
            self._log.debug("deleted %d %s of %s", deleted, what, queue)


def _is_explicit(message: bytes) -> bool:
    """True if this was sent to the dead letters on purpose: only those say how long to keep them."""
    try:
        return codec.decode_task(message).terms.retention > 0
    except DecodeError:
        return False
