"""
Composed tasks on their way to Redis in one round trip: the operations, and what became of each task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from qd.client.compose import Composed
from qd.client.info import TaskInfo
from qd.errors import BrokerError, DuplicateTask, QdError, QueueFull, TaskIdConflict
from qd.observability import tally
from qd.protocol.op import Op
from qd.protocol.ops import pressure, tasks
from qd.protocol.ops.pressure import Admission
from qd.protocol.ops.tasks import Refused
from qd.protocol.state import TaskState

if TYPE_CHECKING:
    from qd.client.room import QueueBounds
    from qd.client.waiting import Waiting


class Batch:
    """
    Tasks that go out together. What could not be composed stands as its error in its place.

    `ops` are to be carried out in one go; the first makes the queues known. *bounds* are the rules of
    queues that may be full; *again* says that tasks which may wait for room will be tried again.
    """

    def __init__(
        self,
        tasks_: Sequence[Composed | QdError],
        *,
        now_ns: int,
        bounds: QueueBounds | None = None,
        again: bool = True,
    ) -> None:
        self.tasks = tasks_
        self._lanes = _lanes(tasks_)
        self._bounds = bounds
        self._again = again
        self.ops: list[Op[Any]] = []
        if self._lanes:
            self.ops.append(tasks.announce(sorted({queue for queue, _ in self._lanes})))
        for (queue, state), lane in self._lanes.items():
            new = [one.new for one in lane.members]
            if state is TaskState.PENDING:
                op = tasks.enqueue(queue, new, now_ns=now_ns)
            elif state is TaskState.SCHEDULED:
                op = tasks.schedule(queue, new)
            else:
                op = tasks.add_to_group(queue, new, now=now_ns // 1_000_000_000)
            self.ops.append(op if bounds is None else self._bounded(bounds, op, queue, now_ns))

    def _bounded(
        self, bounds: QueueBounds, op: Op[list[Refused | None]], queue: str, now_ns: int
    ) -> Op[Any]:
        rule = bounds.of(queue)
        if rule is None:
            return op
        count_as = rule.count_as(again=self._again)
        return pressure.bounded(op, queue, rule.marks, count_as=count_as, now=now_ns // 10**9)

    def outcomes(
        self, answers: Sequence[Any], waiting: Waiting | None = None
    ) -> list[TaskInfo | QdError]:
        """
        Return what became of each task, in order, from what came back for `ops`.

        Raises:
            BrokerError: It stands in place of the first answer: no queue was made known. In the
                place of another, it is the outcome of all tasks of that operation.
        """
        out: list[Any] = list(self.tasks)
        counting = tally.current()
        if answers and isinstance(answers[0], BrokerError):
            raise answers[0]
        if self._bounds is not None:
            answers = self._noted(self._bounds, answers)
        for lane, answer in zip(self._lanes.values(), answers[1:], strict=True):
            if isinstance(answer, BrokerError):
                for index in lane.places:
                    out[index] = answer
                continue
            for index, one, refused in zip(lane.places, lane.members, answer, strict=True):
                # An id that qd made is in use only because this very task got through before, on a
                # connection that broke before the answer came.
                if refused is not None and not (refused.state and one.own_id):
                    out[index] = self._refusal(one, refused)
                    continue
                if counting is not None:
                    counting.add(tally.ENQUEUED, one.queue, counting.type_label(one.type))
                out[index] = TaskInfo(
                    one.new.id, one.type, one.queue, one.state, one.next_at, waiting
                )
        return out

    def _noted(self, bounds: QueueBounds, answers: Sequence[Any]) -> list[Any]:
        """The answers as they would be without bounds; how full the queues are is noted."""
        out = list(answers)
        for place, (queue, _) in enumerate(self._lanes, start=1):
            answer, rule = out[place], bounds.of(queue)
            if rule is not None and isinstance(answer, Admission):
                bounds.note(queue, rule, answer.pressure)
                out[place] = answer.refusals
        return out

    def _refusal(self, one: Composed, refused: Refused) -> TaskInfo | QdError:
        rule = self._bounds.of(one.queue) if self._bounds is not None else None
        if rule is None or not refused.full:
            return _refusal(one, refused)
        if rule.policy == "drop":
            return TaskInfo(one.new.id, one.type, one.queue, one.state, None, dropped=True)
        return QueueFull(one.queue, refused.full, rule.marks.critical, rule.max_size)


class _Lane(Struct):
    """Tasks for one script, and their places in the batch."""

    members: list[Composed] = field(default_factory=list)
    places: list[int] = field(default_factory=list)


def _lanes(tasks_: Sequence[Composed | QdError]) -> dict[tuple[str, TaskState], _Lane]:
    """Return the tasks by queue and by the state they will have."""
    lanes: dict[tuple[str, TaskState], _Lane] = {}
    lane = _Lane()
    queue: str | None = None
    state: TaskState | None = None
    for index, one in enumerate(tasks_):
        if not isinstance(one, Composed):
            continue
        # Most have the lane of the one before.
        if one.state is not state or one.queue != queue:
            queue, state = one.queue, one.state
            lane = lanes.setdefault((queue, state), _Lane())
        lane.members.append(one)
        lane.places.append(index)
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
