"""
Composed tasks on their way to Redis in one round trip: the operations, and what became of each task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qd.client.compose import Composed
from qd.client.info import TaskInfo
from qd.errors import BrokerError, DuplicateTask, QdError, TaskIdConflict
from qd.observability import tally
from qd.protocol.op import Op
from qd.protocol.ops import tasks
from qd.protocol.ops.tasks import Refused
from qd.protocol.state import TaskState

if TYPE_CHECKING:
    from qd.client.waiting import Waiting


class Batch:
    """
    Tasks that go out together. What could not be composed stands as its error in its place.

    `ops` are to be carried out in one go; the first makes the queues known.
    """

    def __init__(self, tasks_: Sequence[Composed | QdError], *, now_ns: int) -> None:
        self._tasks = tasks_
        self._lanes = _lanes(tasks_)
        self.ops: list[Op[Any]] = []
        if self._lanes:
            self.ops.append(tasks.announce(sorted({queue for queue, _ in self._lanes})))
        for (queue, state), members in self._lanes.items():
            new = [one.new for _, one in members]
            if state is TaskState.PENDING:
                self.ops.append(tasks.enqueue(queue, new, now_ns=now_ns))
            elif state is TaskState.SCHEDULED:
                self.ops.append(tasks.schedule(queue, new))
            else:
                self.ops.append(tasks.add_to_group(queue, new, now=now_ns // 1_000_000_000))

    def outcomes(
        self, answers: Sequence[Any], waiting: Waiting | None = None
    ) -> list[TaskInfo | QdError]:
        """
        Return what became of each task, in order, from what came back for `ops`.

        Raises:
            BrokerError: It stands in place of the first answer: no queue was made known. In the
                place of another, it is the outcome of all tasks of that operation.
        """
        out: list[Any] = list(self._tasks)
        counting = tally.current()
        if answers and isinstance(answers[0], BrokerError):
            raise answers[0]
        for members, answer in zip(self._lanes.values(), answers[1:], strict=True):
            if isinstance(answer, BrokerError):
                for index, _ in members:
                    out[index] = answer
                continue
            for (index, one), refused in zip(members, answer, strict=True):
                # An id that qd made is in use only because this very task got through before, on a
                # connection that broke before the answer came.
                if refused is not None and not (refused.state and one.own_id):
                    out[index] = _refusal(one, refused)
                    continue
                if counting is not None:
                    counting.add(tally.ENQUEUED, one.queue, counting.type_label(one.type))
                out[index] = TaskInfo(
                    one.new.id, one.type, one.queue, one.state, one.next_at, waiting
                )
        return out


Lanes = dict[tuple[str, TaskState], list[tuple[int, Composed]]]
"""Tasks with their places in the batch, by queue and by the state they will have."""


def _lanes(tasks_: Sequence[Composed | QdError]) -> Lanes:
    lanes: Lanes = {}
    members: list[tuple[int, Composed]] = []
    queue: str | None = None
    state: TaskState | None = None
    for index, one in enumerate(tasks_):
        if not isinstance(one, Composed):
            continue
        # Most have the lane of the one before.
        if one.state is not state or one.queue != queue:
            queue, state = one.queue, one.state
            members = lanes.setdefault((queue, state), [])
        members.append((index, one))
    return lanes


def _refusal(one: Composed, refused: Refused) -> QdError:
    if refused.state:
        return TaskIdConflict(
            f"task id {one.new.id!r} is in use in queue {one.queue} (state {refused.state})",
            holder=one.new.id,
            state=refused.state,
            hint=f"See it with `qd task show {one.new.id}`; a completed or archived task "
            "keeps its id until it is removed.",
        )
    return DuplicateTask(
        f"an equal task exists in queue {one.queue}: {one.type} is unique, and "
        f"{refused.holder!r} holds the lock",
        holder=refused.holder,
        hint=f"See it with `qd task show {refused.holder}`.",
    )
