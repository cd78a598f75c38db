"""
Say that a task is done before its handler has found out: what a webhook does for a poll.

The steps are the same for synchronous callers, coroutines and the shell; each carries them out itself.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from qd.client.steps import Steps, asked
from qd.errors import DecodeError, TaskNotFound, WrongState
from qd.protocol import codec, polling
from qd.protocol.message import TaskMessage
from qd.protocol.ops import inspect, inspect_queues, polls
from qd.protocol.ops.inspect import Stored
from qd.protocol.ops.polls import Told

MayBePoll = Callable[[str], bool]
"""Tells of a task type whether its tasks may be polls, as far as this program knows."""

_TRIES = 10
"""A task that is moved by others between a look and a step is looked at again."""


def steps(
    task_id: str,
    result: bytes | None,
    *,
    queue: str | None,
    prefix: str,
    may_be_poll: MayBePoll,
    clock: Callable[[], float],
) -> Steps[bool]:
    """
    End a task as done; returns False if it runs, and will end with this look. *queue* is the name it is stored by; None: in which of those with *prefix* it is.

    Raises:
        TaskNotFound: There is none with this id.
        WrongState: Several queues have one, it is no poll, or it is in a state in which it cannot end so.
    """
    where = queue
    if where is None:
        where = yield from _find(task_id, prefix)
    for _ in range(_TRIES):
        (stored,) = yield from asked(inspect.read_task(where, task_id))
        if stored is None:
            raise TaskNotFound(
                f'There is no task "{task_id}" in queue "{where}".',
                hint="It may have ended: without a retention nothing of a task is kept.",
            )
        message = _readable(stored, where)
        if polling.read(message.terms.headers) is None and not may_be_poll(message.type):
            raise WrongState(
                f'Task "{task_id}" in queue "{where}" is of type {message.type}, which is no poll.',
                hint="Only what @app.poll handles can be told that it is done.",
            )
        now = clock()
        (told,) = yield from asked(
            polls.done(
                where,
                task_id,
                read=stored.message,
                terms=message.terms,
                result=result,
                day=datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d"),
                now=int(now),
            )
        )
        # Gone since that look: it has ended, maybe by this very step, whose answer was lost.
        if told in (Told.ENDED, Told.GONE):
            return True
        if told is Told.RUNS:
            return False
        if told is Told.NOT_SO:
            raise _not_so(stored, where)
    raise WrongState(
        f'Task "{task_id}" in queue "{where}" was moved by others each of {_TRIES} times, or it is not '
        "listed where it says to be.",
        hint="Try again; `qd doctor` finds tasks that are not listed.",
    )


def _find(task_id: str, prefix: str) -> Steps[str]:
    (names,) = yield from asked(inspect_queues.names())
    own: list[str] = [name for name in names if name.startswith(prefix)]
    found = yield from asked(*(inspect.read_task(name, task_id) for name in own))
    there = [name for name, stored in zip(own, found, strict=True) if stored is not None]
    if not there:
        raise TaskNotFound(
            f'There is no task "{task_id}" in any queue.',
            hint="It may have ended: without a retention nothing of a task is kept.",
        )
    if len(there) > 1:
        raise WrongState(
            f'There are tasks "{task_id}" in several queues: {", ".join(there)}.',
            hint="Name the queue.",
        )
    return there[0]


def _readable(stored: Stored, queue: str) -> TaskMessage:
    try:
        return codec.decode_task(stored.message)
    except DecodeError as error:
        raise WrongState(
            f'The message of task "{stored.id}" in queue "{queue}" cannot be read: {error}.',
            hint="`qd task show --json` has its bytes.",
        ) from error


def _not_so(stored: Stored, queue: str) -> WrongState:
    hint = "Bring it back with `qd task run`, or delete it with `qd task rm`."
    return WrongState(
        f'Task "{stored.id}" in queue "{queue}" is {stored.state}, and cannot end as done from there.',
        hint=hint if stored.state == "archived" else "",
    )
