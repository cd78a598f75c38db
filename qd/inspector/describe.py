"""Turn what is stored of a task into what is shown of it."""

from __future__ import annotations

from qd import jsoncodec
from qd.errors import DecodeError
from qd.inspector.values import moment, moment_ns
from qd.inspector.views import TaskView
from qd.protocol import codec
from qd.protocol.ops.inspect import Stored
from qd.protocol.state import TaskState


def waits_for(stored: str) -> tuple[str, ...]:
    """What a task says that it waits for: the kind of a gate, its name, and more."""
    try:
        found = jsoncodec.loads(stored.encode())
    except ValueError:
        return ()
    return tuple(map(str, found)) if isinstance(found, list) else ()


def describe(task: Stored, queue: str, state: str, *, now: float) -> TaskView:
    """
    Return the view of a task that is listed under *state*, whatever its hash says.

    Never fails: what cannot be decoded is shown by its id, with its bytes.
    """
    at = moment(task.score)
    active = state == TaskState.ACTIVE
    stored = {
        "group": task.group,
        "unique_key": task.unique_key,
        "next_at": at if state in (TaskState.SCHEDULED, TaskState.RETRY) else None,
        "archived_at": at if state == TaskState.ARCHIVED else None,
        "expires_at": at if state == TaskState.COMPLETED else None,
        "pending_since": moment_ns(task.pending_since_ns),
        "result": task.result,
        "lease_until": moment(task.lease_until),
        "orphaned": active and (task.lease_until is None or task.lease_until <= now),
        "owner": task.owner,
        "deaths": task.deaths,
        "cause": task.cause,
        "waits": waits_for(task.waits) if state == TaskState.SCHEDULED else (),
        "progress": task.progress,
    }
    if not task.message:
        return TaskView(task.id, queue, state, missing=True, **stored)  # type: ignore[arg-type]
    try:
        message = codec.decode_task(task.message)
    except DecodeError:
        return TaskView(task.id, queue, state, undecodable=True, raw=task.message, **stored)  # type: ignore[arg-type]
    terms = message.terms
    stored["group"] = task.group or terms.group
    stored["unique_key"] = task.unique_key or terms.unique_key
    return TaskView(
        task.id,
        queue,
        state,
        type=message.type,
        payload=message.payload,
        headers=terms.headers,
        max_retry=terms.max_retry,
        retried=terms.retried,
        error=terms.error,
        last_failed_at=moment(terms.last_failed_at),
        timeout=terms.timeout,
        deadline=moment(terms.deadline),
        retention=terms.retention,
        completed_at=moment(terms.completed_at),
        **stored,  # type: ignore[arg-type]
    )
