"""The keys and arguments by which a script takes in one new task (`lua/lib/admit.lua`)."""

from __future__ import annotations

from qd.protocol import keys
from qd.protocol.op import Argument
from qd.protocol.ops.tasks import NewTask
from qd.protocol.state import TaskState


def admission_keys(queue: str, task: NewTask, state: TaskState) -> tuple[str, str, str]:
    """The task's hash, the container of *state*, the names of all groups."""
    container = {
        TaskState.PENDING: keys.pending(queue),
        TaskState.SCHEDULED: keys.scheduled(queue),
        TaskState.AGGREGATING: keys.group(queue, task.group),
    }[state]
    return keys.task(queue, task.id), container, keys.groups(queue)


def admission_args(task: NewTask, state: TaskState, *, now_ns: int) -> list[Argument]:
    """What `admit` calls `new`, in its order."""
    score = task.process_at if state is TaskState.SCHEDULED else now_ns // 1_000_000_000
    return [
        state,
        task.id,
        task.message,
        task.unique_key,
        task.unique_ttl,
        score,
        task.group,
        now_ns,
    ]
