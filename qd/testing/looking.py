"""The part of the kit that looks at tasks, and says what a test expects of them. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from qd.app.app import App
from qd.durations import seconds
from qd.errors import UsageError
from qd.handlers.options import Duration
from qd.protocol.state import TaskState
from qd.testing.calls import type_of
from qd.testing.expected import ANY, Expected, complaint
from qd.testing.ran import Runs
from qd.testing.stored import StoredTask, all_tasks

_WAITING = (TaskState.PENDING, TaskState.SCHEDULED, TaskState.AGGREGATING)


class Looking:
    """*clock* gives Unix seconds. All of it may be called in tests of both kinds."""

    def __init__(self, app: App, clock: Callable[[], int]) -> None:
        self.app = app
        self.ran = Runs()
        """All that has run so far, in this order."""
        self._clock = clock

    @property
    def now(self) -> datetime:
        """What time it is for qd, in UTC."""
        return datetime.fromtimestamp(self._clock(), UTC)

    def tasks(
        self, type: Any = None, *, state: str | None = None, queue: str | None = None
    ) -> list[StoredTask]:
        """
        Return what is stored, of one type, state or queue: pending ones first, each in its order.

        *type* is a name, or what `@app.task` gave back.
        """
        if state is not None and state not in list(TaskState):
            raise UsageError(f"{state!r} is no state", hint=f"They are: {', '.join(TaskState)}.")
        stored_queue = None if queue is None else self.app.settings.queue_prefix + queue
        wanted = None if type is None else type_of(type)
        return [
            one
            for one in all_tasks(self.app.inspector())
            if wanted in (None, one.type)
            and state in (None, one.state)
            and stored_queue in (None, one.queue)
        ]

    def find(self, queue: str, task_id: str) -> StoredTask:
        """Return one task; raises TaskNotFound."""
        return StoredTask(self.app.inspector().tasks.get(queue, task_id))

    @property
    def dead(self) -> list[StoredTask]:
        """The dead letters."""
        return self.tasks(state=TaskState.ARCHIVED)

    def assert_enqueued(
        self,
        type: Any,
        *,
        payload: Any = ANY,
        queue: str | None = None,
        times: int | None = None,
        process_in: Duration | None = None,
        process_at: datetime | None = None,
        state: str | None = None,
    ) -> list[StoredTask]:
        """
        Fail unless such a task waits to run: pending, delayed or in a group; return those that do.

        Args:
            type: A name, or what `@app.task` gave back.

            payload: What its payload has at least: fields that are not named may be anything.

            times: So many, no more and no fewer; else one is enough.

            process_in, process_at: When it is due, from now or as a moment.

            state: Only of this state; others than those above as well, such as retry.
        """
        __tracebackhide__ = True
        wanted = self._expected(type, payload, queue, state, process_in, process_at)
        found, waiting = self._matching(wanted)
        if found and times in (None, len(found)):
            return found
        if times == 0 and not found:
            return []
        phrase = "Expected a" if times is None else f"Expected {times} x"
        raise AssertionError(self._complaint(wanted, waiting, phrase, len(found)))

    def assert_not_enqueued(
        self, type: Any, *, payload: Any = ANY, queue: str | None = None, state: str | None = None
    ) -> None:
        """Fail if such a task waits to run; the arguments are those of `assert_enqueued`."""
        __tracebackhide__ = True
        wanted = self._expected(type, payload, queue, state, None, None)
        found, waiting = self._matching(wanted)
        if found:
            raise AssertionError(self._complaint(wanted, waiting, "Expected no", len(found)))

    def _expected(
        self,
        type: Any,
        payload: Any,
        queue: str | None,
        state: str | None,
        process_in: Duration | None,
        process_at: datetime | None,
    ) -> Expected:
        due_at = process_at
        if process_in is not None:
            due_at = datetime.fromtimestamp(int(self._clock() + seconds(process_in)), UTC)
        stored_queue = None if queue is None else self.app.settings.queue_prefix + queue
        return Expected(type_of(type), payload, stored_queue, state, due_at)

    def _matching(self, wanted: Expected) -> tuple[list[StoredTask], list[StoredTask]]:
        states = _WAITING if wanted.state is None else (wanted.state,)
        waiting = [one for one in self.tasks() if one.state in states]
        return [one for one in waiting if not wanted.differences(one)], waiting

    def _complaint(
        self, wanted: Expected, waiting: list[StoredTask], phrase: str, found: int
    ) -> str:
        return complaint(
            wanted,
            waiting,
            wanted=phrase,
            found=found,
            known_types=self.app.router.patterns,
            ran=len(self.ran.of(wanted.type)),
        )
