"""Tasks, one by one: run, archive, delete, change, cancel. Reading and bulk are inherited."""

from __future__ import annotations

from collections.abc import Callable

from qd.client.poll_done import steps
from qd.client.steps import carry_out_now
from qd.errors import DecodeError, TaskNotFound, WrongState
from qd.inspector.bulk import CANNOT, HINT_ACTIVE, BulkActions, Change, lock_of
from qd.protocol import codec
from qd.protocol.message import TaskMessage
from qd.protocol.op import Op
from qd.protocol.ops import inspect_tasks, presence
from qd.protocol.ops.inspect import Container, Stored
from qd.protocol.ops.inspect_tasks import Rewrite, Verdict
from qd.protocol.state import TaskState

_TRIES = 10
"""A task that is moved by others between a look and a step is looked at again."""

_CONTAINERS = (
    TaskState.PENDING,
    TaskState.SCHEDULED,
    TaskState.RETRY,
    TaskState.ARCHIVED,
    TaskState.COMPLETED,
)


class Tasks(BulkActions):
    """All that an operator can do to tasks. Every step is atomic and leaves others' work alone."""

    def run(self, queue: str, task_id: str, *, reset_retries: bool = False) -> None:
        """
        Let a waiting, dead or completed task run now: it becomes the last in the line.

        Deaths of workers that were counted for it are forgotten. Its retries stay used up, as in
        asynq, unless *reset_retries*: a dead task then gets all of them again.

        Raises:
            QueueNotFound, TaskNotFound: There is none; nothing was changed.
            WrongState: It is pending or running already, or unreadable; nothing was changed.
        """

        def step(source: Container, task: Stored) -> Op[list[Verdict]]:
            self._message(task, queue)
            change = Change(keep_retries=not reset_retries)
            rewrite = change.rewrite(task.id, task.message)
            return inspect_tasks.run(source, [rewrite], now_ns=self._now_ns())

        self._do("run", queue, task_id, step)

    def archive(self, queue: str, task_id: str) -> None:
        """
        Move a task that is not running to the dead letters; message and counters stay.

        Raises:
            QueueNotFound, TaskNotFound: There is none; nothing was changed.
            WrongState: It is running, or archived already; nothing was changed.
        """
        self._do(
            "archive",
            queue,
            task_id,
            lambda source, task: inspect_tasks.archive(source, [task.id], now=int(self._clock())),
        )

    def delete(self, queue: str, task_id: str) -> None:
        """
        Delete a task that is not running, with its result, and release its uniqueness lock.

        An id that is only listed, because its hash is gone, is taken off the list.

        Raises:
            QueueNotFound, TaskNotFound: There is none; nothing was changed.
            WrongState: It is running; nothing was changed.
        """
        try:
            self._do(
                "delete",
                queue,
                task_id,
                lambda source, task: inspect_tasks.delete(source, [(task.id, lock_of(task))]),
            )
        except TaskNotFound:
            steps = [
                inspect_tasks.delete(Container(queue, state), [(task_id, "")])
                for state in _CONTAINERS
            ]
            if [Verdict.DONE] not in self._link.execute_many(steps):
                raise

    def update_payload(self, queue: str, task_id: str, payload: bytes) -> None:
        """
        Replace the payload of a scheduled task; all else stays, its uniqueness lock included.

        Raises:
            QueueNotFound, TaskNotFound: There is none; nothing was changed.
            WrongState: It is not scheduled, or unreadable; nothing was changed.
        """
        for _ in range(_TRIES):
            task = self._stored(queue, task_id)
            if task.state != TaskState.SCHEDULED:
                raise WrongState(
                    f'Task "{task_id}" in queue "{queue}" is {task.state or "in no state"}; only the '
                    "payload of a scheduled task can be changed.",
                    hint="Delete it and enqueue another one.",
                )
            old = self._message(task, queue)
            after = codec.encode_task(TaskMessage(old.type, payload, old.id, old.terms))
            step = inspect_tasks.update_message(queue, Rewrite(task_id, task.message, after))
            if self._link.execute(step) is Verdict.DONE:
                return
        raise self._restless(queue, task_id)

    def done(self, queue: str, task_id: str, result: bytes | None = None) -> bool:
        """
        End a task as done, with *result*, as `Client.poll_done` does; True if it has ended.

        A task of any type, if it waits. One that runs ends so only if it is a poll, hence False.

        Raises:
            TaskNotFound: There is none; nothing was changed.
            WrongState: It is archived, in a group or unreadable; nothing was changed.
        """
        taken = steps(
            task_id,
            result,
            queue=queue,
            prefix="",
            may_be_poll=lambda _: True,
            clock=self._clock,
        )
        return carry_out_now(self._link, taken)

    def cancel(self, task_id: str) -> int:
        """
        Ask whoever runs this task to stop it; return how many processes heard, not whether one did.

        The task then counts as failed and is retried if it has retries left. All databases of a
        Redis, and tasks with the same id in other queues, are reached as well.
        """
        return self._link.execute(presence.publish_cancel(task_id))

    def _do(
        self,
        verb: str,
        queue: str,
        task_id: str,
        step: Callable[[Container, Stored], Op[list[Verdict]]],
    ) -> None:
        for _ in range(_TRIES):
            task = self._stored(queue, task_id)
            state = _state_of(task, queue)
            reason = CANNOT[verb].get(state)
            if reason:
                hint = HINT_ACTIVE if state is TaskState.ACTIVE else ""
                raise WrongState(f'Task "{task_id}" in queue "{queue}" {reason}.', hint=hint)
            # A delayed task may name a group as well; the one it waits in is only an aggregating one's.
            group = task.group if state is TaskState.AGGREGATING else ""
            verdict = self._link.execute(step(Container(queue, state, group), task))[0]
            if verdict is Verdict.DONE:
                return
            if verdict is Verdict.UNLISTED:
                raise _unlisted(task, queue)
        raise self._restless(queue, task_id)

    @staticmethod
    def _message(task: Stored, queue: str) -> TaskMessage:
        try:
            return codec.decode_task(task.message)
        except DecodeError as error:
            raise WrongState(
                f'The message of task "{task.id}" in queue "{queue}" cannot be read: {error}.',
                hint="It can be archived or deleted; `qd task show --json` has its bytes.",
            ) from error

    @staticmethod
    def _restless(queue: str, task_id: str) -> WrongState:
        return WrongState(
            f'Task "{task_id}" in queue "{queue}" was moved by others each of {_TRIES} times.',
            hint="Try again.",
        )


def _state_of(task: Stored, queue: str) -> TaskState:
    try:
        return TaskState(task.state)
    except ValueError:
        raise WrongState(
            f'Task "{task.id}" in queue "{queue}" has state {task.state!r}, which does not exist.',
            hint="Its hash is debris; `qd doctor --fix` removes it.",
        ) from None


def _unlisted(task: Stored, queue: str) -> WrongState:
    if task.state == TaskState.AGGREGATING:
        return WrongState(
            f'Task "{task.id}" of group "{task.group}" in queue "{queue}" is being aggregated.',
            hint="It is gone soon, or back in its group within three minutes.",
        )
    return WrongState(
        f'Task "{task.id}" in queue "{queue}" says it is {task.state}, but is not listed there.',
        hint="`qd doctor --fix` repairs that.",
    )
