"""
Operations by which an operator moves and deletes tasks.

All take a batch out of one container and say for each task what became of it; a task that is no
longer where it was thought to be is left alone. None of them touches a running task.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from msgspec import Struct

from qd.protocol import constants, keys
from qd.protocol.op import Argument, Op, script
from qd.protocol.ops.inspect import Container
from qd.protocol.scripts import Script

_RUN = Script("run_tasks")
_ARCHIVE = Script("archive_tasks")
_DELETE = Script("delete_tasks")
_UPDATE = Script("update_message")

BATCH = 500
"""Tasks per call at most: Redis serves nobody else meanwhile."""


class Verdict(IntEnum):
    """What became of one task of a batch."""

    DONE = 1
    GONE = 0
    """Its hash is gone; if its id was still listed, it is not any longer."""
    MOVED = -1
    """It is in another state by now; nothing was changed."""
    UNLISTED = -2
    """It says to be in this state but is not listed there; nothing was changed."""
    CHANGED = -3
    """Its message is not the one that was read; nothing was changed."""


class Rewrite(Struct, frozen=True):
    """A new message for a task, to be stored only if the stored one is still *before*."""

    id: str
    before: bytes = b""
    after: bytes = b""


def run(source: Container, tasks: Sequence[Rewrite], *, now_ns: int) -> Op[list[Verdict]]:
    """
    Let tasks run now. Atomic; forgets the deaths of workers that were counted for them.

    Where *after* is empty the message stays as it is, whatever it is; retries that are used up stay
    used up.
    """
    args: list[Argument] = [keys.task_prefix(source.queue), source.state, source.group, now_ns]
    for task in tasks:
        args += (task.id, _digest(task.before) if task.after else "", task.after)
    return script(
        _RUN,
        [source.key, keys.pending(source.queue), keys.groups(source.queue)],
        args,
        _verdicts,
    )


def archive(source: Container, ids: Sequence[str], *, now: int) -> Op[list[Verdict]]:
    """
    Move tasks to the dead-letter set. Atomic; messages, counters and locks stay as they are.

    Entries older than 90 days, and the oldest beyond 10,000, are deleted with their tasks.
    """
    return script(
        _ARCHIVE,
        [source.key, keys.archived(source.queue), keys.groups(source.queue)],
        [
            keys.task_prefix(source.queue),
            source.state,
            source.group,
            now,
            now - constants.ARCHIVE_MAX_AGE,
            constants.ARCHIVE_MAX,
            *ids,
        ],
        _verdicts,
    )


def delete(source: Container, tasks: Sequence[tuple[str, str]]) -> Op[list[Verdict]]:
    """
    Delete tasks, given as (id, lock). Atomic.

    Locks are released if the task holds them: the one its hash names, and the one given here, for
    asynq leaves it out of the hash of a task that was added to a group.
    """
    args: list[Argument] = [keys.task_prefix(source.queue), source.state, source.group]
    for pair in tasks:
        args += pair
    return script(_DELETE, [source.key, keys.groups(source.queue)], args, _verdicts)


def update_message(queue: str, task: Rewrite) -> Op[Verdict]:
    """Replace the message of a scheduled task, unless it was changed since it was read."""
    return script(
        _UPDATE,
        [keys.task(queue, task.id)],
        [_digest(task.before), task.after],
        Verdict,
        repeatable=False,
    )


def _digest(message: bytes) -> str:
    # Compared instead of the message, which may be large; Redis has no better digest than this.
    return hashlib.sha1(message, usedforsecurity=False).hexdigest()


def _verdicts(reply: Any) -> list[Verdict]:
    return [Verdict(one) for one in reply]
