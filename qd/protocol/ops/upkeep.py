"""Operations that keep queues tidy: due tasks, dead workers, what is over."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from msgspec import Struct

from qd.protocol import codec, constants, keys
from qd.protocol.message import TaskMessage, Terms
from qd.protocol.op import Argument, Op, command, script, text
from qd.protocol.scripts import Script
from qd.protocol.state import TaskState

_FORWARD = Script("forward")
_EXPIRED = Script("expired")
_DROP_GHOST = Script("drop_ghost")
_HAND_BACK = Script("hand_back")
_DELETE_EXPIRED = Script("delete_expired")
_OLD_ARCHIVED = Script("old_archived")
_RECOVER = Script("recover")
_UNLEASED = Script("unleased")
_ADOPT = Script("adopt")

_FOREIGN_LEASE = 20
"""
Seconds. A lease that ends later than this from now is a Go server's: those last 25 to 30 s, and
ours never more than 15.
"""


class Forwarded(Struct, frozen=True):
    """How many tasks were moved, and when the next one is due (Unix seconds, None if none is)."""

    moved: int
    next_at: float | None


class Orphan(Struct, frozen=True):
    """An active task whose lease has run out. `owner` is empty if a Go server held it."""

    id: str
    score: int
    owner: str
    message: bytes


class Recovered(IntEnum):
    """What became of one task of a dead worker."""

    BACK = 1
    POISON = 2
    """It has outlived too many workers, and was archived."""
    GONE = 0
    STALE = -1
    """Its lease was renewed, or somebody else has it; nothing was changed."""


def forward(queue: str, source: TaskState, *, now_ns: int, limit: int) -> Op[Forwarded]:
    """Move up to *limit* due tasks from `scheduled` or `retry` to pending (or their group)."""
    due = {TaskState.SCHEDULED: keys.scheduled, TaskState.RETRY: keys.retry}[source]
    return script(
        _FORWARD,
        [due(queue), keys.pending(queue), keys.groups(queue)],
        [
            keys.task_prefix(queue),
            keys.group_prefix(queue),
            now_ns // 1_000_000_000,
            now_ns,
            limit,
        ],
        lambda reply: Forwarded(reply[0], float(reply[1]) if reply[1] else None),
    )


def expired(queue: str, *, now: int, limit: int) -> Op[list[Orphan]]:
    """
    List active tasks whose lease has run out, oldest first; changes nothing.

    At most *limit*, and fewer if their messages are large.
    """

    def parse(reply: Any) -> list[Orphan]:
        return [
            Orphan(text(reply[i]), int(float(reply[i + 1])), text(reply[i + 2]), reply[i + 3])
            for i in range(0, len(reply), 4)
        ]

    return script(
        _EXPIRED,
        [keys.lease(queue)],
        [keys.task_prefix(queue), now, now - constants.FOREIGN_LEASE_GRACE, limit],
        parse,
    )


def drop_ghost(queue: str, task_id: str) -> Op[bool]:
    """Forget an active id that has no message. Safe to repeat."""
    return script(
        _DROP_GHOST,
        [keys.active(queue), keys.lease(queue), keys.task(queue, task_id)],
        [task_id],
        bool,
    )


def hand_back(
    queue: str,
    owner: str,
    *,
    running: Sequence[str] | None,
    cause: str,
    day: str,
    now_ns: int,
    killed: bool = False,
) -> Op[tuple[list[str], list[str]]]:
    """
    Put back all that a dead worker held; returns the ids put back and the ids archived as poison.

    *running* are the keys of all tasks it was running, in whatever queue, or None if nobody knows, and
    it may have been any of those it held: this death is counted for them. One that was alone and has
    now seen two deaths is archived; in company, where another may be the culprit, after five. If the
    worker was *killed*, maybe by somebody else, a task is spared once, and then has five as well,
    unless all that were killed in the last minute were running it: `lib/kills.lua`. Those archived
    count as failed on *day* (UTC). Safe to repeat: the owner then holds nothing.
    """
    now = now_ns // 1_000_000_000
    failure = Terms(queue="", error=f"worker died: {cause}", last_failed_at=now)
    alone = running is not None and len(running) == 1 and not killed
    return script(
        _HAND_BACK,
        [
            keys.pending(queue),
            keys.active(queue),
            keys.lease(queue),
            keys.archived(queue),
            keys.processed(queue),
            keys.processed_on(queue, day),
            keys.failed(queue),
            keys.failed_on(queue, day),
            keys.kills(queue),
        ],
        [
            keys.task_prefix(queue),
            owner,
            now_ns,
            now,
            cause,
            constants.POISON_DEATHS if alone else constants.POISON_DEATHS_IN_COMPANY,
            now + _FOREIGN_LEASE,
            codec.encode_task(TaskMessage("", b"", "", failure)),
            now + constants.STATS_TTL,
            int(killed),
            int(running is None),
            *(running or ()),
        ],
        lambda reply: ([text(one) for one in reply[0]], [text(one) for one in reply[1]]),
    )


def delete_expired_completed(queue: str, *, now: int, limit: int) -> Op[int]:
    """Delete completed tasks whose retention is over; returns how many."""
    return script(
        _DELETE_EXPIRED, [keys.completed(queue)], [keys.task_prefix(queue), now, limit], int
    )


def old_archived(
    queue: str, task_type: str, *, until: int, offset: int, limit: int
) -> Op[tuple[int, list[tuple[str, bytes]]]]:
    """
    Look at up to *limit* archived tasks not younger than *until* (Unix seconds), from *offset* on.

    Returns how many there were, and id and message of those of *task_type*. Changes nothing.
    """
    head = codec.encode_task(TaskMessage(task_type, b"", "", Terms(queue="")))

    def parse(reply: Any) -> tuple[int, list[tuple[str, bytes]]]:
        return reply[0], [(text(reply[i]), reply[i + 1]) for i in range(1, len(reply), 2)]

    return script(
        _OLD_ARCHIVED,
        [keys.archived(queue)],
        [keys.task_prefix(queue), until, head, offset, limit],
        parse,
    )


def recover(
    queue: str, tasks: Sequence[tuple[Orphan, bytes]], *, cause: str, day: str, now_ns: int
) -> Op[list[Recovered]]:
    """
    Put back tasks that workers of qd held when their leases ran out; no retry is charged.

    The loss of a worker is forgiven a task once, and counted from then on. With each orphan comes the message to store if that archives it. Fenced
    by owner and lease as they were listed; safe to repeat.
    """
    now = now_ns // 1_000_000_000
    args: list[Argument] = [
        keys.task_prefix(queue),
        now_ns,
        now,
        cause,
        constants.POISON_DEATHS_IN_COMPANY,
        now + constants.STATS_TTL,
    ]
    for orphan, poisoned in tasks:
        args += (orphan.id, orphan.owner, orphan.score, poisoned)
    return script(
        _RECOVER,
        [
            keys.pending(queue),
            keys.active(queue),
            keys.lease(queue),
            keys.archived(queue),
            keys.processed(queue),
            keys.processed_on(queue, day),
            keys.failed(queue),
            keys.failed_on(queue, day),
        ],
        args,
        lambda reply: [Recovered(one) for one in reply],
    )


def unleased(queue: str, *, offset: int, limit: int) -> Op[tuple[int, list[str]]]:
    """
    Look at up to *limit* active ids, skipping the *offset* oldest.

    Returns how many there were, and those that have no lease. Changes nothing.
    """
    return script(
        _UNLEASED,
        [keys.active(queue), keys.lease(queue)],
        [offset, limit],
        lambda reply: (reply[0], [text(one) for one in reply[1:]]),
    )


def adopt(queue: str, ids: Sequence[str], *, now: int) -> Op[int]:
    """
    Give active tasks without a lease one that is over, so that they are recovered like all others.

    Returns how many got one. Safe to repeat.
    """
    lease_until = now - constants.FOREIGN_LEASE_GRACE - 1
    return script(_ADOPT, [keys.active(queue), keys.lease(queue)], [lease_until, *ids], int)


def next_due(queue: str, source: TaskState) -> Op[float | None]:
    """When the first task of `scheduled` or `retry` is due, in Unix seconds."""
    due = {TaskState.SCHEDULED: keys.scheduled, TaskState.RETRY: keys.retry}[source]

    def parse(reply: Any) -> float | None:
        # RESP3 has pairs of id and score, RESP2 has them one after the other.
        flat = reply[0] if reply and isinstance(reply[0], list) else reply
        return float(flat[1]) if flat else None

    return command("ZRANGE", [due(queue)], [0, 0, "WITHSCORES"], parse)


def existing(names: Sequence[str]) -> Op[int]:
    """How many of these keys exist: an empty list or set does not."""
    return command("EXISTS", names, [], int)


def clock() -> Op[float]:
    """The time by the clock of Redis, which is one for all hosts; Unix seconds."""
    return command("TIME", [], [], lambda reply: int(reply[0]) + int(reply[1]) / 1_000_000)


def ping() -> Op[str]:
    """Nothing; but the answer comes after all news that the server has sent on this connection."""
    return command("PING", [], [], text)


def watch() -> Op[str]:
    """
    Let Redis remember what the next command of this connection reads.

    On a connection that has tracking switched on (OPTIN), Redis then tells when that changes.
    """
    return command("CLIENT CACHING YES", [], [], text)
