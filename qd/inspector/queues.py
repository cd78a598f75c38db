"""Queues: what is in them, what they did, pause and resume, purge and remove."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from qd.broker.link import Link
from qd.errors import UsageError, WrongState
from qd.inspector.groups import Groups
from qd.inspector.known import require_queue
from qd.inspector.values import moment
from qd.inspector.views import DayView, QueueView
from qd.protocol import constants
from qd.protocol.ops import inspect_queues
from qd.protocol.ops.inspect_queues import QueueCounts
from qd.protocol.state import TaskState

if TYPE_CHECKING:
    from qd.inspector.tasks import Tasks


class Queues:
    """
    All that an operator can do to whole queues. `clock` gives Unix seconds.

    `tasks` is asked for only to purge and remove: whoever looks at queues need not import it.
    """

    def __init__(
        self, link: Link, tasks: Callable[[], Tasks], groups: Groups, clock: Callable[[], float]
    ) -> None:
        self._link = link
        self._tasks = tasks
        self._groups = groups
        self._clock = clock

    def names(self) -> list[str]:
        """Return the names of all queues that were ever written to, sorted."""
        return self._link.execute(inspect_queues.names())

    def info(self, name: str, *, memory: bool = False) -> QueueView:
        """
        Return sizes, counters and latency of a queue, all of one moment but for the groups.

        With *memory* its size in Redis is estimated from a sample, which takes a little longer.
        A broken key does not hide the rest; it is named in `problems`. Raises QueueNotFound.
        """
        require_queue(self._link, name)
        return self._views([name], memory=memory)[0]

    def all(self, memory: bool = False) -> list[QueueView]:
        """Return every queue as `info` does, sorted by name."""
        return self._views(self.names(), memory=memory)

    def history(self, name: str, days: int) -> list[DayView]:
        """
        Return what a queue did on each of the last *days* UTC days, today first.

        Redis keeps 90 days; earlier ones show zeros.

        Raises:
            QueueNotFound: No such queue.
            UsageError: *days* is not 1 to 90.
        """
        kept = constants.STATS_TTL // 86_400
        if not 1 <= days <= kept:
            raise UsageError(f"a history of {days} days cannot be shown; take 1 to {kept}")
        require_queue(self._link, name)
        today = datetime.fromtimestamp(self._clock(), UTC).date()
        dates = [today - timedelta(days=back) for back in range(days)]
        counts = self._link.execute(
            inspect_queues.history(name, [one.isoformat() for one in dates])
        )
        return [DayView(day, *count) for day, count in zip(dates, counts, strict=True)]

    def pause(self, name: str, by: str = "") -> None:
        """
        Let no worker take tasks of a queue any more; all else goes on, running tasks too.

        *by* is who does it, for others to see.

        Raises:
            QueueNotFound: No such queue.
            WrongState: It is paused already.
        """
        require_queue(self._link, name)
        now = int(self._clock())
        if not self._link.execute(inspect_queues.pause(name, now=now)):
            raise WrongState(f'Queue "{name}" is already paused.', hint="Nothing had to be done.")
        if by:
            self._link.execute(inspect_queues.sign_pause(name, by, now=now))

    def resume(self, name: str) -> None:
        """
        Let workers take tasks of a queue again.

        Raises:
            QueueNotFound: No such queue.
            WrongState: It is not paused.
        """
        require_queue(self._link, name)
        if not self._link.execute(inspect_queues.resume(name)):
            raise WrongState(f'Queue "{name}" is not paused.', hint="Nothing had to be done.")
        self._link.execute(inspect_queues.unsign_pause(name))

    def purge(self, name: str, state: TaskState) -> int:
        """Delete all tasks of a state, as `Tasks.delete_all`; return how many."""
        return self._tasks().delete_all(name, state)

    def remove(self, name: str, force: bool = False) -> int:
        """
        Remove a queue and all that belongs to it; return how many tasks were deleted with it.

        Counters, locks, groups, the pause and what earlier programs have left go as well. Without
        *force* the queue must hold no tasks at all. With it the queue is paused, emptied in pieces
        and then removed; if that is interrupted, it stays paused with what is left: call it again.
        Looks at every key of the Redis node once. A later enqueue brings the queue back.

        Raises:
            QueueNotFound: No such queue.
            QueueNotEmpty: There are tasks and no *force*, or they come in faster than they go.
            WrongState: A task is running; not even *force* removes the queue under it.
        """
        from qd.inspector.removal import Removal

        require_queue(self._link, name)
        return Removal(self._link, self._tasks(), name).remove(force=force, now=int(self._clock()))

    def _views(self, names: list[str], *, memory: bool) -> list[QueueView]:
        if not names:
            return []
        now = self._clock()
        as_of = datetime.fromtimestamp(now, UTC)
        day = as_of.date().isoformat()
        counts: list[QueueCounts] = self._link.execute_many(
            [inspect_queues.info(name, day=day, now=int(now)) for name in names]
        )
        waiting = [
            sum(self._groups.sizes(name).values()) if found.groups else 0
            for name, found in zip(names, counts, strict=True)
        ]
        sizes: list[int | None] = [None] * len(names)
        if memory:
            sizes = self._link.execute_many(
                [
                    inspect_queues.memory(name, aggregating=many)
                    for name, many in zip(names, waiting, strict=True)
                ]
            )
        return [
            _view(name, found, many, size, now, as_of)
            for name, found, many, size in zip(names, counts, waiting, sizes, strict=True)
        ]


def _view(
    name: str,
    counts: QueueCounts,
    aggregating: int,
    memory: int | None,
    now: float,
    as_of: datetime,
) -> QueueView:
    states = (
        counts.pending,
        counts.active,
        counts.scheduled,
        counts.retry,
        counts.archived,
        counts.completed,
        aggregating,
    )
    since = counts.pending_since_ns
    return QueueView(
        name,
        sum(states),
        *states,
        groups=counts.groups,
        orphaned=max(0, counts.active - counts.leased),
        paused=counts.paused,
        paused_at=moment(counts.paused_at),
        paused_by=counts.paused_by,
        processed=counts.processed_today,
        failed=counts.failed_today,
        processed_total=counts.processed,
        failed_total=counts.failed,
        pressure=counts.pressure,
        refused=counts.refused,
        dropped=counts.dropped,
        latency=max(0.0, now - since / 1e9) if since else 0.0,
        memory=memory,
        problems=counts.problems,
        as_of=as_of,
    )
