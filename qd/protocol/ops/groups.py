"""Operations of group aggregation (asynq's aggregator)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from qd.protocol import constants, keys
from qd.protocol.op import Op, command, script, text
from qd.protocol.ops.admission import admission_args, admission_keys
from qd.protocol.ops.tasks import NewTask
from qd.protocol.scripts import Script
from qd.protocol.state import TaskState

_CHECK = Script("aggregation_check")
_READ = Script("read_set")
_AGGREGATE = Script("aggregate")
_EXPEL = Script("expel")
_RECLAIM = Script("reclaim")


class Aggregated(IntEnum):
    """What became of a staged set; unless DONE, nothing was changed."""

    DONE = 1
    GONE = 0
    """It was put back, or aggregated before."""
    ID_IN_USE = 2
    LOCK_HELD = 3


def names(queue: str) -> Op[list[str]]:
    """The groups that have (or had) members."""
    return command("SMEMBERS", [keys.groups(queue)], [], lambda reply: sorted(map(text, reply)))


def check(
    queue: str, group: str, set_id: str, *, max_size: int, max_delay: int, grace: int, now: int
) -> Op[int]:
    """If the group is ripe, stage its tasks as set *set_id*; returns how many, 0 if it is not."""
    return script(
        _CHECK,
        [
            keys.group(queue, group),
            keys.groups(queue),
            keys.aggregation_sets(queue),
            keys.aggregation_set(queue, group, set_id),
        ],
        [max_size, max_delay, grace, now + constants.AGGREGATION_TIMEOUT, now, group],
        int,
        repeatable=False,
    )


def read_set(
    queue: str, group: str, set_id: str, *, offset: int, limit: int
) -> Op[tuple[list[tuple[str, bytes]], int]]:
    """Id and message of a staged set's tasks from *offset* on, and how many ids were read (0 = the end)."""

    def parse(reply: Any) -> tuple[list[tuple[str, bytes]], int]:
        return [(text(reply[i]), reply[i + 1]) for i in range(0, len(reply) - 1, 2)], reply[-1]

    return script(
        _READ,
        [keys.aggregation_set(queue, group, set_id)],
        [keys.task_prefix(queue), offset, limit],
        parse,
    )


def expel(queue: str, group: str, set_id: str, ids: Sequence[str], *, now: int) -> Op[int]:
    """Archive members of a staged set that nobody can read, their bytes unchanged. Safe to repeat."""
    return script(
        _EXPEL,
        [keys.aggregation_set(queue, group, set_id), keys.archived(queue)],
        [keys.task_prefix(queue), now, *ids],
        int,
    )


def aggregate(
    queue: str, group: str, set_id: str, task: NewTask, state: TaskState, *, now_ns: int
) -> Op[Aggregated]:
    """
    Enqueue the one task a set became and delete the set's tasks, in one step.

    *state* is where the new task belongs: pending, scheduled or aggregating.
    """
    task_key, container, groups = admission_keys(queue, task, state)
    return script(
        _AGGREGATE,
        [
            keys.aggregation_set(queue, group, set_id),
            keys.aggregation_sets(queue),
            task_key,
            container,
            groups,
        ],
        [keys.task_prefix(queue), *admission_args(task, state, now_ns=now_ns)],
        Aggregated,
    )


def reclaim(queue: str, *, now: int, limit: int) -> Op[int]:
    """Put up to *limit* sets whose aggregator did not finish in time back into their groups."""
    return script(
        _RECLAIM,
        [keys.aggregation_sets(queue), keys.groups(queue)],
        [now, keys.group_prefix(queue), limit],
        int,
    )
