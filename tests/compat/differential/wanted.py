"""
Where qd does on purpose what asynq does not: asynq's own faults, and the faster recovery.

Every entry says which differences it explains, as narrowly as it can: anything else fails the run.
`test_wanted.py` has a case for each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qd.protocol import constants
from tests.compat.differential.differences import Difference
from tests.compat.differential.store import PREFIX, View, content, ghosts

ANSWER = ":answer"
"""Stands for the key where the answers to an operation differ."""

_GO_LEASE = 30


@dataclass(frozen=True)
class Step:
    """One operation, what was there before (the same on both sides), and what is there now."""

    op: dict[str, Any]
    before: View
    asynq: View
    qd: View
    answers: tuple[Any, Any]
    """asynq's and qd's."""
    held: dict[str, str]
    """Who held which task before: "qd" or "go"."""

    @property
    def name(self) -> str:
        return str(self.op["op"])

    @property
    def by_qd(self) -> bool:
        return self.op.get("by") != "go"

    def state(self, task_id: str) -> str | None:
        """The state of a task on qd's side."""
        found: str | None = (content(self.qd, f"t:{task_id}") or {}).get("state")
        return found

    def old(self) -> set[str]:
        """Archived tasks that were too old before this step."""
        archived = content(self.before, "archived") or {}
        return {one for one, score in archived.items() if score <= -constants.ARCHIVE_MAX_AGE}

    def own(self) -> set[str]:
        """Tasks that workers of qd held before."""
        return {one for one, holder in self.held.items() if holder == "qd"}


@dataclass(frozen=True)
class Wanted:
    """One wanted difference."""

    name: str
    reason: str
    explains: Callable[[Step, Difference], bool]


def _lease(step: Step, found: Difference) -> bool:
    if found.name != "lease" or step.name not in ("dequeue", "extend"):
        return False
    both = found.asynq is not None and found.qd is not None
    return both and found.asynq - found.qd == _GO_LEASE - constants.LEASE


def _pending_since(step: Step, found: Difference) -> bool:
    if found.part != "pending_since" or found.asynq is not None or found.qd != 0:
        return False
    is_requeue = step.name == "end" and step.op["how"] == "requeue"
    return is_requeue or step.name == "run" or step.name.startswith("run-all-")


def _pending_since_of_archived(step: Step, found: Difference) -> bool:
    is_archive = step.name == "archive" or step.name.startswith("archive-all-")
    of_archived = found.part == "pending_since" and step.state(found.task) == "archived"
    return is_archive and of_archived and found.qd is None


def _group_of_scheduled(step: Step, found: Difference) -> bool:
    return (
        step.name == "enqueue"
        and found.name == f"t:{step.op['id']}"
        and found.part == "group"
        and found.asynq is None
        and found.qd == step.op.get("group")
        and step.state(found.task) == "scheduled"
    )


def _lock_of_conflict(step: Step, found: Difference) -> bool:
    return (
        step.name == "enqueue"
        and step.answers[0] == "conflict"
        and _only_in_asynq_is_lock_of(found, {step.op["id"]})
    )


def _conflict_first(step: Step, found: Difference) -> bool:
    answers = (found.asynq, found.qd) == ("duplicate", "conflict")
    return found.key == ANSWER and step.name == "enqueue" and answers


def _ghost(step: Step, found: Difference) -> bool:
    dead = ghosts(step.before)
    if found.key == ANSWER:
        if step.name == "delete":
            gone = step.op["id"] in dead
            return gone and (found.asynq, found.qd) == ("not-found", "ok")
        source = step.name.partition("-all-")[2]
        source = f"g:{step.op['group']}" if source == "aggregating" else source
        there = len(dead & set(content(step.before, source) or ()))
        counted = isinstance(found.asynq, int) and isinstance(found.qd, int)
        return counted and found.asynq - found.qd == there
    if found.name == "groups":
        # The group that only ghosts were in.
        members = set(content(step.before, f"g:{found.part}") or ())
        return found.qd is None and members <= dead
    return found.task in dead and found.qd is None


def _relisted_group(step: Step, found: Difference) -> bool:
    has_members = bool(content(step.qd, f"g:{found.part}"))
    moved = step.name in ("forward", "recover")
    return moved and found.name == "groups" and found.asynq is None and has_members


def _trimmed(step: Step, found: Difference) -> bool:
    """asynq's inspector leaves the hashes behind, and all of asynq the locks."""
    archives = "archive" in step.name or step.op.get("how") == "archive" or step.name == "recover"
    if not archives or found.qd is not None:
        return False
    if _only_in_asynq_is_lock_of(found, step.old()):
        return True
    return found.name.startswith("t:") and found.task in step.old() and step.name != "end"


def _idle_trim(step: Step, found: Difference) -> bool:
    is_idle = step.name.startswith("archive-all-") and step.answers[1] == 0
    return is_idle and found.name == "archived" and found.asynq is None and found.part in step.old()


def _recovered(step: Step, found: Difference) -> bool:
    if step.name != "recover" or not step.by_qd:
        return False
    leases = content(step.before, "lease") or {}
    own = {one for one in step.own() if leases.get(one, 1) <= 0}
    if found.task in own:
        return step.state(found.task) in ("pending", "archived")
    if not own:
        return False
    # asynq counts the failures, qd only a task that has outlived too many workers. asynq trims its
    # archive when it archives one of them.
    trimmed = found.asynq is None and found.task in step.old()
    return trimmed or found.name.startswith(("processed", "failed"))


def _unique_key_of_grouped(step: Step, found: Difference) -> bool:
    return (
        step.name == "enqueue"
        and found.name == f"t:{step.op['id']}"
        and found.part == "unique_key"
        and found.asynq is None
        and step.state(found.task) == "aggregating"
    )


def _unlocked(step: Step, found: Difference) -> bool:
    deletes = step.name in ("delete-all-pending", "delete-all-aggregating", "merge")
    gone = {
        key.removeprefix(PREFIX + "t:") for key in step.before.keys() - step.qd.keys()
        if key.startswith(PREFIX + "t:")
    }  # fmt: skip
    return deletes and _only_in_asynq_is_lock_of(found, gone)


def _only_in_asynq_is_lock_of(found: Difference, ids: set[str]) -> bool:
    is_lock = found.name.startswith("unique:") and found.part == ":value"
    return is_lock and found.qd is None and found.asynq in ids


WANTED = [
    Wanted(
        "lease of 15 s",
        "Half of asynq's 30 s lets another host take over within 20 s; a Go server only looks at the "
        "moment the lease ends.",
        _lease,
    ),
    Wanted(
        "pending_since when put back",
        "asynq leaves it out on requeue and run, and the latency of the queue then reads as 0.",
        _pending_since,
    ),
    Wanted(
        "no pending_since when archived",
        "asynq leaves it behind, and a run out of the archive then shows a latency of days.",
        _pending_since_of_archived,
    ),
    Wanted(
        "delayed tasks join their group",
        "asynq does not write the field that its own forwarder looks at, so a task with a delay and "
        "a group is handled alone.",
        _group_of_scheduled,
    ),
    Wanted(
        "no lock is left on a conflict",
        "asynq takes the lock before it looks for the id, and keeps it when it refuses the task.",
        _lock_of_conflict,
    ),
    Wanted(
        "a conflict is named before a duplicate",
        "qd looks for the id first, so that is what it reports when both are true.",
        _conflict_first,
    ),
    Wanted(
        "ghosts are dropped",
        "An id whose hash is gone is revived by asynq as a hash without a message, which stays for "
        "ever and keeps the id taken.",
        _ghost,
    ),
    Wanted(
        "groups are listed again",
        "asynq forgets to, when it forwards into a group or puts a stale set back, and no aggregator "
        "ever looks at the group again.",
        _relisted_group,
    ),
    Wanted(
        "trimming takes hashes and locks along",
        "asynq's inspector trims the archive without deleting the hashes; nothing in asynq releases "
        "the locks.",
        _trimmed,
    ),
    Wanted(
        "the archive is trimmed when something comes in",
        "asynq's inspector trims it even if no task was archived; qd changes nothing then.",
        _idle_trim,
    ),
    Wanted(
        "own leases are recovered early and uncharged",
        "A worker of qd renews its leases every 5 s: one that has run out means a dead host, not a "
        "failure of the task. Deaths are counted instead.",
        _recovered,
    ),
    Wanted(
        "unique_key of grouped tasks",
        "asynq leaves it out of the hash on a unique group add, and its delete then leaves the lock.",
        _unique_key_of_grouped,
    ),
    Wanted(
        "locks go with deleted tasks",
        "asynq does not release them on deleting all pending or aggregating tasks, nor when a set "
        "was aggregated.",
        _unlocked,
    ),
]
