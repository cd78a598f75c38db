"""
Is a task where it belongs? And where does it belong, if it is not?

Nothing is run that may have run already, and nothing is deleted that has a message, except what
asynq itself meant to delete. In doubt a task goes to the dead letters, where a person sees it.
"""

from __future__ import annotations

from collections.abc import Set

from msgspec import Struct

from qd.errors import DecodeError
from qd.inspector.doctor.finding import Finding
from qd.protocol import codec
from qd.protocol.message import TaskMessage
from qd.protocol.ops import doctor
from qd.protocol.ops.doctor import TaskFacts
from qd.protocol.state import TaskState

_GROUP = "g:"

_STATES = {state.value for state in TaskState}

_STRONGEST = ("active", "pending", _GROUP, "retry", "scheduled", "archived", "completed")
"""Which of several containers is right when the state names none: the one that matters most."""


class Ward(Struct, frozen=True):
    """What is known about a queue beside its tasks: `alive` are the ids of live workers."""

    queue: str
    now: float
    alive: Set[str] = frozenset()
    registered: bool = True


class _Repair(Struct, frozen=True):
    """The container that is to list the task ('' = none, it goes), and what its hash is to say."""

    place: str
    state: str
    remedy: str
    score: float = 0.0
    capped: bool = False


_DELETE = "is deleted"


def judge_task(task: TaskFacts, ward: Ward) -> Finding | None:
    """Return what is wrong with a task and how to mend it; None if nothing is."""
    found = _judge(task, ward)
    if found is None:
        return None
    rule, repair = found
    return Finding(
        rule,
        ward.queue,
        task.id,
        _evidence(rule, task),
        repair.remedy,
        doctor.mend_task(
            ward.queue,
            task,
            place=repair.place,
            state=repair.state,
            score=repair.score or ward.now,
            now=ward.now,
            capped=repair.capped,
        ),
        task.digest,
        gone=not repair.place,
    )


def _judge(task: TaskFacts, ward: Ward) -> tuple[str, _Repair] | None:
    if task.kind == "none":
        if task.places:
            return "ghost", _Repair("", "", "the id leaves its container")
        return ("stray-lease", _Repair("", "", "the lease goes")) if task.lease else None
    if task.kind != "hash":
        return "not-a-task", _Repair("", "", "the key is renamed and kept")
    if task.message is None:
        return "empty", _Repair("", "", _DELETE)
    try:
        message = codec.decode_task(task.message)
    except DecodeError:
        return _unreadable(task, ward)
    return _readable(task, message, ward)


def _unreadable(task: TaskFacts, ward: Ward) -> tuple[str, _Repair] | None:
    archived = _Repair("archived", "archived", "goes to the dead letters, its bytes unchanged")
    if "active" in task.places and task.lease and task.lease > ward.now:
        # Somebody holds it, and may be able to read it.
        return None
    if task.state == "archived" and set(task.places) == {"archived"} and not task.expires:
        return None
    return "undecodable", archived


def _readable(task: TaskFacts, message: TaskMessage, ward: Ward) -> tuple[str, _Repair] | None:
    if not task.places:
        return "unlisted", _home(task, message, ward)
    right = _right(task)
    if right is None:
        place = min(task.places, key=lambda one: _STRONGEST.index(_kind(one)))
        state = "aggregating" if place.startswith(_GROUP) else place
        return "misplaced", _Repair(place, state, f"becomes {state}, as it is listed")
    stays = _Repair(right, task.state, f"stays in {right} only")
    if len(task.places) > 1 or (_is_list(right) and task.places[right] > 1):
        return "doubled", stays
    if task.state == "active" and task.lease is None:
        if task.owner in ward.alive:
            # Its worker renews the lease within seconds, and may have done half of the work.
            return None
        return "unleased", _Repair(
            right, task.state, "gets a lease of 30 s; when that is over it is recovered"
        )
    if task.state != "active" and task.lease is not None:
        return "stray-lease", _Repair(right, task.state, "the lease goes")
    if task.expires:
        return "expiring", _Repair(right, task.state, "is kept")
    return None


def _home(task: TaskFacts, message: TaskMessage, ward: Ward) -> _Repair:
    """Where a task belongs that is in no container."""
    terms = message.terms
    back = f"is {task.state} again"
    if task.state == "active" and task.lease is not None:
        return _Repair(
            "active", "active", "is active again; when its lease is over it is recovered"
        )
    if task.state == "pending":
        return _Repair("pending", "pending", back)
    if task.state == "retry":
        return _Repair("retry", "retry", "is tried again now")
    if task.state == "archived":
        # At its old place in the archive; a full one has no room for what it has dropped before.
        at = float(terms.last_failed_at)
        return _Repair("archived", "archived", f"{back}, or deleted if 10,000 are", at, capped=True)
    if task.state == "completed":
        until = float(terms.completed_at + terms.retention)
        if until <= ward.now or not ward.registered:
            return _Repair("", "", f"{_DELETE}: its retention is over, or its queue was deleted")
        return _Repair("completed", "completed", back, until)
    group = task.group or terms.group
    if task.state == "aggregating":
        if group:
            return _Repair(_GROUP + group, "aggregating", "is in its group again")
        return _Repair("pending", "pending", "becomes pending: its group is not known")
    # It was to run at a time nobody knows, or it has run and nobody knows how that ended.
    return _Repair("archived", "archived", "goes to the dead letters: look at it, then requeue it")


def _right(task: TaskFacts) -> str | None:
    """The container that fits the state; of a staged set and a group, the set."""
    if task.state == "aggregating":
        return next((one for one in task.places if one.startswith(_GROUP)), None)
    return task.state if task.state in task.places else None


def _kind(place: str) -> str:
    return _GROUP if place.startswith(_GROUP) else place


def _is_list(place: str) -> bool:
    return place in ("pending", "active")


def _evidence(rule: str, task: TaskFacts) -> str:
    if task.kind not in ("none", "hash"):
        return f"its key is a {task.kind}"
    state = task.state if task.state in _STATES else f'"{task.state}"'
    says = "no hash" if task.kind == "none" else f"state {state}"
    if task.kind == "hash" and task.message is None:
        says += ", no message"
    elif rule == "undecodable":
        says += ", unreadable message"
    shown = [
        f"{place} ({times:.0f} times)" if _is_list(place) and times > 1 else place
        for place, times in task.places.items()
    ]
    where = f"listed in {', '.join(shown)}" if shown else "listed nowhere"
    lease = "" if task.lease is None else ", has a lease"
    return f"{says}; {where}{lease}{', expires' if task.expires else ''}"
