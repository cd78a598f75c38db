"""
Remove a queue without a trace, and without losing a task that comes in meanwhile.

The containers go in one atomic step, when few tasks or none are left in them. Only then is the rest
swept up, key by key; whatever is listed again by then is new and stays.
"""

from __future__ import annotations

from qd.broker.link import Link
from qd.errors import QueueNotEmpty, WrongState
from qd.inspector.tasks import Tasks
from qd.protocol.ops import inspect_queues
from qd.protocol.ops.inspect_queues import Removal as Step
from qd.protocol.ops.tasks import announce
from qd.protocol.state import TaskState

_AT_ONCE = 1000
"""Tasks that the last, atomic step may delete."""

_ROUNDS = 10
"""How often to empty a queue that producers keep filling."""

_STATES = (
    TaskState.PENDING,
    TaskState.SCHEDULED,
    TaskState.RETRY,
    TaskState.ARCHIVED,
    TaskState.COMPLETED,
)


class Removal:
    """One removal of one queue, which exists."""

    def __init__(self, link: Link, tasks: Tasks, queue: str) -> None:
        self._link = link
        self._tasks = tasks
        self._queue = queue

    def remove(self, *, force: bool, now: int) -> int:
        """See `Queues.remove`."""
        deleted = self._by_force(now) if force else self._if_empty()
        self._sweep()
        self._link.execute(inspect_queues.forget(self._queue))
        if self._look().tasks:
            # Enqueued in this very moment: every tool must see them.
            self._link.execute(announce([self._queue]))
        return deleted

    def _if_empty(self) -> int:
        # Groups that no list names hold tasks as well: asynq forgets to list some.
        groups = self._groups()
        found = self._look() if groups else self._step(limit=0)
        if found.removed:
            return 0
        contents = _contents(found) or f"tasks in group {groups[0]}"
        raise QueueNotEmpty(
            f'Queue "{self._queue}" is not empty: {contents}.',
            hint="Let the workers finish, purge it, or delete everything with --force.",
        )

    def _by_force(self, now: int) -> int:
        paused = self._link.execute(inspect_queues.pause(self._queue, now=now))
        try:
            return self._empty_and_remove()
        except (WrongState, QueueNotEmpty):
            if paused:
                self._link.execute(inspect_queues.resume(self._queue))
            raise

    def _empty_and_remove(self) -> int:
        deleted = 0
        for _ in range(_ROUNDS):
            found = self._look()
            if found.active:
                raise WrongState(
                    f'Queue "{self._queue}" cannot be removed: {found.active} of its tasks run.',
                    hint="Wait for them, or cancel them with `qd task cancel ID`, then try again.",
                )
            for group in self._groups():
                deleted += self._tasks.delete_all(self._queue, TaskState.AGGREGATING, group)
            found = self._step(limit=_AT_ONCE)
            if found.removed:
                return deleted + found.tasks
            for state in _STATES:
                deleted += self._tasks.delete_all(self._queue, state)
        raise QueueNotEmpty(
            f'Queue "{self._queue}" is filled faster than it is emptied: {deleted} tasks were '
            f"deleted, and there are {_contents(self._look())}.",
            hint="Stop the programs that enqueue to it, then try again.",
        )

    def _step(self, *, limit: int) -> Step:
        return self._link.execute(inspect_queues.remove(self._queue, limit=limit))

    def _look(self) -> Step:
        return self._step(limit=-1)

    def _groups(self) -> list[str]:
        """Groups and staged sets with tasks, listed or not, by name."""
        found: set[str] = set()
        cursor = "0"
        while True:
            cursor, some = self._link.execute(inspect_queues.find_groups(self._queue, cursor))
            found.update(some)
            if cursor == "0":
                return sorted(found)

    def _sweep(self) -> None:
        cursor = "0"
        while True:
            cursor, _ = self._link.execute(inspect_queues.sweep(self._queue, cursor))
            if cursor == "0":
                return


def _contents(found: Step) -> str:
    sizes = {state: getattr(found, state) for state in TaskState}
    return ", ".join(f"{size} {state.value}" for state, size in sizes.items() if size)
