"""Operations that bring tasks in and hand them to workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from qd.protocol import keys
from qd.protocol.op import Argument, Op, command, script, text
from qd.protocol.scripts import Script

_ENQUEUE = Script("enqueue")
_SCHEDULE = Script("schedule")
_ADD_TO_GROUP = Script("add_to_group")
_DEQUEUE = Script("dequeue")
_ARM = Script("arm")
_DEAD_LETTER = Script("dead_letter")

_REMEMBER_FETCH = 120
"""Seconds that the answer of a fetch can be asked for again."""


class NewTask(Struct, gc=False):
    """A task on its way in: its id, its encoded message, its lock if it is unique."""

    id: str
    message: bytes
    unique_key: str = ""
    unique_ttl: int = 0
    process_at: int = 0
    group: str = ""


class Refused(Struct, frozen=True):
    """
    Why a task was not taken in: the id is in use (`state`), the lock is held (`holder`), or there is no
    room in the queue, which has `full` tasks.
    """

    state: str = ""
    holder: str = ""
    full: int = 0


class Taken(Struct, gc=False):
    """
    A task taken from a queue: id, message bytes as stored, deaths of workers it has seen.

    `pending_since`: Unix nanoseconds; 0 if unknown, as for what a Go server has put back, and when a
    task is given again for the same nonce.
    """

    id: str
    message: bytes
    deaths: int
    pending_since: int = 0

    def __eq__(self, other: object) -> bool:
        """True for the same task, whether or not both know since when it was pending."""
        if not isinstance(other, Taken):
            return NotImplemented
        return (self.id, self.message, self.deaths) == (other.id, other.message, other.deaths)

    __hash__ = None  # type: ignore[assignment]


def _accepted(reply: Any) -> list[Refused | None]:
    if reply.count(1) == len(reply):
        return [None] * len(reply)
    out: list[Refused | None] = []
    for one in reply:
        if one == 1:
            out.append(None)
        elif one[:1] == b"d":
            out.append(Refused(holder=text(one[1:])))
        else:
            out.append(Refused(state=text(one[1:]) or "unknown"))
    return out


def announce(queues: Sequence[str]) -> Op[int]:
    """Make queues known to every tool. To be sent before the first task of a queue."""
    return command("SADD", [keys.QUEUES], list(queues), int)


def enqueue(queue: str, tasks: Sequence[NewTask], *, now_ns: int) -> Op[list[Refused | None]]:
    """
    Put tasks at the tail of a queue's line. Atomic; each task is accepted or refused by itself.

    Repeating it after a lost answer is safe: the ids are taken, so nothing is enqueued twice.
    """
    args: list[Argument] = [keys.task_prefix(queue), now_ns]
    if any(task.unique_key for task in tasks):
        args.append(4)
        for task in tasks:
            args += (task.id, task.message, task.unique_key, task.unique_ttl)
    else:
        args.append(2)
        for task in tasks:
            args += (task.id, task.message)
    return script(_ENQUEUE, [keys.pending(queue)], args, _accepted)


def schedule(queue: str, tasks: Sequence[NewTask]) -> Op[list[Refused | None]]:
    """Keep tasks until their `process_at` (Unix seconds). Otherwise as `enqueue`."""
    args: list[Argument] = [keys.task_prefix(queue)]
    for task in tasks:
        args += (task.id, task.message, task.unique_key, task.unique_ttl)
        args += (task.process_at, task.group)
    return script(_SCHEDULE, [keys.scheduled(queue)], args, _accepted)


def add_to_group(queue: str, tasks: Sequence[NewTask], *, now: int) -> Op[list[Refused | None]]:
    """Let tasks wait in their `group` until they are aggregated. Otherwise as `enqueue`."""
    args: list[Argument] = [keys.task_prefix(queue), keys.group_prefix(queue), now]
    for task in tasks:
        args += (task.id, task.message, task.unique_key, task.unique_ttl, task.group)
    return script(_ADD_TO_GROUP, [keys.groups(queue)], args, _accepted)


def dead_letter(queue: str, task_id: str, message: bytes, *, now: int) -> Op[bool]:
    """Store a task as dead right away; False when the id is in use."""
    return script(
        _DEAD_LETTER,
        [keys.archived(queue), keys.task(queue, task_id)],
        [task_id, message, now],
        bool,
    )


def _taken(reply: Any) -> list[Taken] | None:
    if reply == -1:
        return None
    fields = iter(reply)
    return [
        Taken(
            str(task_id, "utf-8", "backslashreplace"),
            message,
            int(deaths) if deaths else 0,
            int(since) if since else 0,
        )
        for task_id, message, deaths, since in zip(fields, fields, fields, fields, strict=True)
    ]


def dequeue(
    queue: str, *, count: int, owner: str, nonce: str, lease_until: int
) -> Op[list[Taken] | None]:
    """
    Take up to *count* tasks of a queue, oldest first; None when the queue is paused.

    Atomic. Each task is then active, noted as *owner*'s, under a lease until *lease_until* (Unix
    seconds). Repeating it with the same *nonce* gives the same tasks again instead of more.
    """
    return script(
        _DEQUEUE,
        [
            keys.pending(queue),
            keys.active(queue),
            keys.lease(queue),
            keys.paused(queue),
            keys.fetch(queue, owner),
        ],
        [keys.task_prefix(queue), count, lease_until, owner, nonce, _REMEMBER_FETCH],
        _taken,
    )


def waiting(queues: Sequence[str]) -> Op[int]:
    """How many of these queues have pending tasks, paused or not. Not for a cluster."""
    return command("EXISTS", [keys.pending(queue) for queue in queues], [], int)


def arm(queue: str) -> Op[int]:
    """
    Count what could be taken from a queue now, 0 when it is paused.

    Sent right after CLIENT CACHING YES, it makes Redis tell this client when that changes.
    """
    return script(_ARM, [keys.paused(queue), keys.pending(queue)], [], int)
