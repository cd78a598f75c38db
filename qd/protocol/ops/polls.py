"""
Operations on polls: somebody says that one is done, whoever is at it.

What was said is kept with a running task, in the field `qd_told` of its hash, until its run ends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from msgspec.structs import replace

from qd.protocol import codec, constants, keys
from qd.protocol.message import TaskMessage, Terms
from qd.protocol.op import Argument, Op, command, script, text
from qd.protocol.ops.endings import Fate
from qd.protocol.scripts import Script

_HEED = {name: Script("heed", around=name) for name in ("complete", "retry", "archive")}
_DONE = Script("poll_done")

# Of the arguments of each script: how many come before the tasks, how many a task has, and where among
# those its result stands, and whether it has failed.
_SHAPES = {"complete": (3, 7, 5, 0), "retry": (3, 5, 0, 4), "archive": (6, 3, 0, 0)}


class Told(IntEnum):
    """What came of saying that a task is done."""

    ENDED = 1
    """It has ended, now or before."""
    RUNS = 2
    """It runs; its run ends it as done."""
    GONE = 0
    NOT_SO = -1
    """It is in a state in which it cannot end so; nothing was changed."""
    UNLISTED = -2
    """It says to be in a state but is not listed there; nothing was changed."""
    CHANGED = -3
    """Its message is not the one that was read; nothing was changed."""


def done(
    queue: str,
    task_id: str,
    *,
    read: bytes,
    terms: Terms,
    result: bytes | None,
    day: str,
    now: int,
) -> Op[Told]:
    """
    End a task that waits as one that has succeeded; let the run of one that runs do so. Atomic.

    *read* is its message, with these *terms*. It counts as processed on *day* (UTC). Safe to repeat: the
    first who says so counts.
    """
    return script(
        _DONE,
        [
            keys.pending(queue),
            keys.scheduled(queue),
            keys.retry(queue),
            keys.completed(queue),
            keys.processed(queue),
            keys.processed_on(queue, day),
        ],
        [
            keys.task_prefix(queue),
            task_id,
            hashlib.sha1(read, usedforsecurity=False).hexdigest(),
            terms.unique_key,
            _keep_until(terms, now),
            _completed(now),
            b"" if result is None else b"=" + result,
            now + constants.STATS_TTL,
        ],
        Told,
    )


def heed(
    op: Op[list[Fate]], queue: str, terms: Sequence[Terms], *, day: str, now: int
) -> Op[list[Fate]]:
    """
    Do what *op* does (`complete`, `retry` or `archive`), but end as done what was told so. Atomic.

    *terms* are those of its tasks, in their order. What was ended as done is `Fate.TOLD`. Of one that is
    retried and has not failed, the deaths of workers are forgotten.
    """
    shape = _SHAPES[op.name]
    args: list[Argument] = [
        *op.args[:2], now + constants.STATS_TTL, _completed(now), len(terms), *shape,
    ]  # fmt: skip
    for one in terms:
        args += (one.unique_key, _keep_until(one, now))
    own = [
        keys.active(queue),
        keys.lease(queue),
        keys.completed(queue),
        keys.processed(queue),
        keys.processed_on(queue, day),
    ]
    whole = script(_HEED[op.name], [*own, *op.keys], [*args, *op.args], op.parse)
    # In the timeline it goes by the name of what it does.
    return replace(whole, name=op.name)


def state(queue: str, task_id: str) -> Op[str]:
    """The state of a task; empty if it is gone."""

    def parse(reply: Any) -> str:
        return "" if reply is None else text(reply)

    return command("HGET", [keys.task(queue, task_id)], ["state"], parse)


def _keep_until(terms: Terms, now: int) -> int:
    return now + terms.retention if terms.retention > 0 else 0


def _completed(now: int) -> bytes:
    return codec.encode_task(TaskMessage("", b"", "", Terms(queue="", completed_at=now)))
