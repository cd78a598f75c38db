"""
Operations on a task one holds a lease of: end it, extend it, store its result and progress.

All of them are fenced. `Held` says whose the task is: the owner noted at dequeue, and the range of
lease scores that owner may have written. Answers are three-valued, see `Fate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from qd.protocol import constants, keys
from qd.protocol.op import Argument, Op, script
from qd.protocol.scripts import Script

_DONE = Script("done")
_COMPLETE = Script("complete")
_RETRY = Script("retry")
_ARCHIVE = Script("archive")
_REQUEUE = Script("requeue")
_PARK = Script("park")
UNPARK = Script("unpark")
_EXTEND = Script("extend")
_NOTE_PROGRESS = Script("note_progress")
_WRITE_RESULT = Script("write_result")


class Fate(IntEnum):
    """What became of one task of a batch."""

    OK = 1
    GONE = 0
    """The task no longer exists: it was ended before, perhaps by this very call, sent twice."""
    STALE = -1
    """It is somebody else's now; nothing was changed."""
    TOLD = 2
    """It has ended as done, for somebody has said that it is (`polls.heed`)."""


class Held(Struct, frozen=True, gc=False):
    """
    A lease: the task, and the scores (Unix seconds) that were or may have been written for it.

    Never changed, so that others may keep it: a renewed lease is a new value.
    """

    id: str
    low: int
    high: int

    @property
    def lease(self) -> int | str:
        """As scripts want it: the score, or the range of it (`lib/fence.lua`)."""
        return self.low if self.low == self.high else f"{self.low}..{self.high}"


class Ending(Struct, gc=False):
    """How one held task ends. Only the fields that the operation needs are looked at."""

    held: Held
    unique_key: str = ""
    message: bytes = b""
    at: int = 0
    """Unix seconds: when to retry, when a parked task comes back, until when to keep a completed one."""
    is_failure: bool = True
    result: bytes | None = None
    waits: str = ""
    """What a parked task waits for."""


# Looked up, because the enumeration's own way takes three times as long.
_FATES = {fate.value: fate for fate in Fate}


def _fates(reply: Any) -> list[Fate]:
    if reply.count(1) == len(reply):
        return [Fate.OK] * len(reply)
    return [_FATES[one] for one in reply]


def _stats(queue: str, day: str) -> list[str]:
    return [
        keys.processed(queue),
        keys.processed_on(queue, day),
        keys.failed(queue),
        keys.failed_on(queue, day),
    ]


def done(
    queue: str, owner: str, endings: Sequence[Ending], *, day: str, now: int
) -> Op[list[Fate]]:
    """Forget tasks that succeeded; releases their locks, counts them on *day* (UTC)."""
    args: list[Argument] = [keys.task_prefix(queue), owner, now + constants.STATS_TTL]
    unique = any(ending.unique_key for ending in endings)
    args.append(3 if unique else 2)
    for ending in endings:
        held = ending.held
        args += (held.id, held.lease)
        if unique:
            args.append(ending.unique_key)
    return script(
        _DONE,
        [
            keys.active(queue),
            keys.lease(queue),
            keys.processed(queue),
            keys.processed_on(queue, day),
        ],
        args,
        _fates,
    )


def revoke(
    queue: str, owner: str, endings: Sequence[Ending], *, day: str, now: int
) -> Op[list[Fate]]:
    """Do as `done`; in the timeline it has a name of its own."""
    return replace(done(queue, owner, endings, day=day, now=now), name="revoke")


def complete(
    queue: str, owner: str, endings: Sequence[Ending], *, day: str, now: int
) -> Op[list[Fate]]:
    """Keep tasks that succeeded until `at`, with their message and result."""
    args: list[Argument] = [keys.task_prefix(queue), owner, now + constants.STATS_TTL]
    for ending in endings:
        held, result = ending.held, ending.result
        args += (held.id, held.lease, ending.unique_key, ending.message, ending.at)
        args += (0, b"") if result is None else (1, result)
    return script(
        _COMPLETE,
        [
            keys.active(queue),
            keys.lease(queue),
            keys.completed(queue),
            keys.processed(queue),
            keys.processed_on(queue, day),
        ],
        args,
        _fates,
    )


def retry(
    queue: str, owner: str, endings: Sequence[Ending], *, day: str, now: int
) -> Op[list[Fate]]:
    """Let tasks run again at `at`; counted as processed and failed if `is_failure`."""
    args: list[Argument] = [keys.task_prefix(queue), owner, now + constants.STATS_TTL]
    for ending in endings:
        held = ending.held
        args += (held.id, held.lease, ending.message, ending.at, int(ending.is_failure))
    return script(
        _RETRY,
        [keys.active(queue), keys.lease(queue), keys.retry(queue), *_stats(queue, day)],
        args,
        _fates,
    )


def archive(
    queue: str, owner: str, endings: Sequence[Ending], *, day: str, now: int
) -> Op[list[Fate]]:
    """
    Move tasks to the dead-letter set. An empty message keeps the bytes that are stored.

    Entries older than 90 days, and the oldest beyond 10,000, are deleted with their tasks.
    """
    args: list[Argument] = [
        keys.task_prefix(queue),
        owner,
        now + constants.STATS_TTL,
        now,
        now - constants.ARCHIVE_MAX_AGE,
        constants.ARCHIVE_MAX,
    ]
    for ending in endings:
        held = ending.held
        args += (held.id, held.lease, ending.message)
    return script(
        _ARCHIVE,
        [keys.active(queue), keys.lease(queue), keys.archived(queue), *_stats(queue, day)],
        args,
        lambda reply: _fates(reply[:-1]),
    )


def requeue(queue: str, owner: str, held: Sequence[Held], *, now_ns: int) -> Op[list[Fate]]:
    """Put tasks back at the head of their line: next to run, no retry charged."""
    args: list[Argument] = [keys.task_prefix(queue), owner, now_ns]
    for one in held:
        args += (one.id, one.lease)
    return script(
        _REQUEUE, [keys.active(queue), keys.lease(queue), keys.pending(queue)], args, _fates
    )


def park(
    queue: str, owner: str, endings: Sequence[Ending], *, day: str, now: int
) -> Op[list[Fate]]:
    """
    Let tasks wait in `scheduled` until they are called (`unpark`), or until `at`; nothing is counted.

    *day* is not needed; all operations that end tasks are called alike.
    """
    args: list[Argument] = [keys.task_prefix(queue), owner, now * 1_000_000_000]
    for ending in endings:
        held = ending.held
        args += (held.id, held.lease, ending.at, ending.waits)
    return script(
        _PARK,
        [keys.active(queue), keys.lease(queue), keys.scheduled(queue), keys.pending(queue)],
        args,
        _fates,
    )


def unpark(queue: str, ids: Sequence[str], *, now_ns: int) -> Op[list[str]]:
    """
    Let parked tasks go to the head of their line, the first of *ids* in front. Safe to repeat.

    Returns those that will not come: gone, ended, waiting for something else, or in a paused queue.
    """

    def not_coming(reply: Any) -> list[str]:
        return [task_id for task_id, comes in zip(ids, reply, strict=True) if not comes]

    return script(
        UNPARK,
        [keys.scheduled(queue), keys.pending(queue), keys.paused(queue)],
        [keys.task_prefix(queue), now_ns, *ids],
        not_coming,
    )


def extend(queue: str, owner: str, held: Sequence[Held], *, lease_until: int) -> Op[list[Fate]]:
    """Renew leases until *lease_until* (Unix seconds). Safe to repeat."""
    args: list[Argument] = [keys.task_prefix(queue), owner, lease_until]
    for one in held:
        args += (one.id, one.lease)
    return script(_EXTEND, [keys.lease(queue)], args, _fates)


def note_progress(queue: str, owner: str, told: Sequence[tuple[Held, bytes]]) -> Op[list[Fate]]:
    """Keep how far running tasks say they are. Safe to repeat."""
    args: list[Argument] = [keys.task_prefix(queue), owner]
    for held, progress in told:
        args += (held.id, held.lease, progress)
    return script(_NOTE_PROGRESS, [keys.lease(queue)], args, _fates)


def write_result(queue: str, owner: str, held: Held, result: bytes) -> Op[Fate]:
    """Store what a running task has to say so far. Safe to repeat."""
    return script(
        _WRITE_RESULT,
        [keys.task(queue, held.id), keys.lease(queue)],
        [owner, result, held.id, held.lease],
        Fate,
    )
