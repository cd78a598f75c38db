"""
Operations of the store check: look for what is not as it should be, and put one thing right.

The looks change nothing and are read in slices. Each repair is one script that first
makes sure that nothing has changed since the look it was planned with; it answers 1 done, 2 call it
again for the rest, 0 it has changed and was left alone. Ids and keys are bytes: damaged ones need
not be text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field

from qd.protocol import constants, keys
from qd.protocol.op import Argument, Op, command, script, text
from qd.protocol.ops.inspect import Container
from qd.protocol.scripts import Script

SLICE = 250
"""Keys or ids that one script looks at: less than a millisecond, on an idle machine."""

_SCAN = Script("scan_keys")
_PAGE = Script("doctor_page")
_TASKS = Script("doctor_tasks")
_FACTS = Script("doctor_facts")
_LOCKS = Script("doctor_locks")
_GROUPS = Script("doctor_groups")
_KEYS = Script("doctor_keys")
_MEND_TASK = Script("mend_task")
_MEND_LOCK = Script("mend_lock")
_RELIST_GROUP = Script("relist_group")
_REGROUP = Script("regroup")
_SET_ASIDE = Script("set_aside")
_CLEAR_DEBRIS = Script("clear_debris")
_SELF_TEST = Script("self_test")

_BYTES = 4 * 1024 * 1024
"""Messages that one script may read."""

_LEASE = 30
"""Seconds of the lease that a repaired active task gets: what a Go server, should one hold it, renews."""


class TaskFacts(Struct, frozen=True):
    """
    Everything that says whether a task is stored as it should be, at one instant.

    `kind` is the type of its key. `places` are the containers that list it, by their keys behind
    the queue's prefix: with the score, or in a list how often. `digest` stands for all of it, and
    `seen` are the groups that were searched besides those that are known. `lease` is Unix seconds.
    """

    id: bytes
    kind: str = "hash"
    expires: bool = False
    state: str = ""
    message: bytes | None = None
    group: str = ""
    unique_key: str = ""
    owner: str = ""
    lease: float | None = None
    places: dict[str, float] = field(default_factory=dict)
    digest: bytes = b""
    seen: tuple[str, ...] = ()


class Lock(Struct, frozen=True):
    """A lock that looks leaked; `message` is its holder's, None if there is no such task."""

    key: bytes
    holder: bytes
    message: bytes | None


def scan(queue: str, pattern: str, cursor: str) -> Op[tuple[str, list[bytes]]]:
    """Some keys of the node that has *queue*, and the next cursor ("0": begin, end)."""
    return script(
        _SCAN,
        [keys.pending(queue)],
        [pattern, cursor, SLICE],
        lambda reply: (text(reply[0]), reply[1]),
    )


def page(source: Container, *, offset: int) -> Op[tuple[list[bytes], list[bytes]]]:
    """A slice of a container's ids, and those of them that do not seem to belong there."""
    return script(
        _PAGE,
        [source.key, keys.lease(source.queue)],
        [keys.task_prefix(source.queue), source.state, offset, SLICE],
        lambda reply: (reply[0], reply[1]),
    )


def leased(queue: str, *, offset: int) -> Op[list[bytes]]:
    """A slice of the ids that have a lease, the latest first."""
    return command("ZRANGE", [keys.lease(queue)], [offset, offset + SLICE - 1, "REV"], list)


def tasks(queue: str, ids: Sequence[bytes]) -> Op[list[tuple[bytes, bytes]]]:
    """
    For each of *ids*, or fewer if they are large: a verdict, and the message.

    The verdict: f fine, s suspect, p and a: it says it is in the list `pending` or `active`.
    """
    return script(
        _TASKS,
        [keys.aggregation_sets(queue)],
        [keys.prefix(queue), _BYTES, *ids],
        lambda reply: list(zip(reply[::2], reply[1::2], strict=True)),
    )


def facts(queue: str, ids: Sequence[bytes], seen: Sequence[str]) -> Op[list[TaskFacts]]:
    """Everything about some tasks, which may be in one of the groups *seen*."""
    groups = tuple(seen)

    def parse(reply: Any) -> list[TaskFacts]:
        return [_facts(one, found, groups) for one, found in zip(ids, reply, strict=True)]

    args: list[Argument] = [keys.prefix(queue), len(groups), *groups, *ids]
    return script(_FACTS, [keys.pending(queue)], args, parse)


def _facts(task_id: bytes, reply: Any, seen: tuple[str, ...]) -> TaskFacts:
    digest, message, found = reply
    kind, expires, state, sha, group, unique_key, owner, lease = map(text, found[:8])
    return TaskFacts(
        id=task_id,
        kind=kind,
        expires=bool(expires),
        state=state,
        message=message if sha else None,
        group=group,
        unique_key=unique_key,
        owner=owner,
        lease=float(lease) if lease else None,
        places={text(found[i]): float(found[i + 1]) for i in range(8, len(found), 2)},
        digest=digest,
        seen=seen,
    )


def locks(queue: str, lock_keys: Sequence[bytes]) -> Op[list[Lock]]:
    """Those of the locks whose holder is gone, or does not name them in its hash."""
    return script(
        _LOCKS,
        [keys.pending(queue)],
        [keys.task_prefix(queue), *lock_keys],
        lambda reply: [Lock(*reply[i : i + 3]) for i in range(0, len(reply), 3)],
    )


def groups(queue: str, group_keys: Sequence[bytes]) -> Op[list[tuple[str, float | None, bool]]]:
    """For each key below `g:` its type, its deadline if it is a staged set, and if it is listed."""

    def parse(reply: Any) -> list[tuple[str, float | None, bool]]:
        return [
            (text(reply[i]), float(reply[i + 1]) if reply[i + 1] else None, bool(reply[i + 2]))
            for i in range(0, len(reply), 3)
        ]

    return script(
        _GROUPS,
        [keys.groups(queue), keys.aggregation_sets(queue)],
        [keys.group_prefix(queue), *group_keys],
        parse,
    )


def staged_sets(queue: str, *, offset: int) -> Op[list[bytes]]:
    """A slice of the keys of staged sets, as they are listed; raises WrongType for another key."""
    return command("ZRANGE", [keys.aggregation_sets(queue)], [offset, offset + SLICE - 1], list)


def describe_keys(wanted: Sequence[bytes | str]) -> Op[list[tuple[str, bool, bool]]]:
    """For each key, all of one queue: type, whether it expires, whether it is a whole number."""
    return script(
        _KEYS,
        wanted,
        [],
        lambda reply: [
            (text(reply[i]), bool(reply[i + 1]), bool(reply[i + 2]))
            for i in range(0, len(reply), 3)
        ],
    )


def dead_entries(key: str, *, until: int) -> Op[int]:
    """How many entries of a presence record expired before *until* (Unix seconds)."""
    return command("ZCOUNT", [key], ["-inf", f"({until}"], int)


# --- repairs --------------------------------------------------------------------------------------


def mend_task(
    queue: str, task: TaskFacts, *, place: str, state: str, score: float, now: float, capped: bool
) -> Op[int]:
    """
    Let only the container *place* list a task, and its hash say *state*; no place: delete it.

    What stands under the key of a task and is none is set aside. *capped*: delete it rather than
    fill the archive over its limit.
    """
    aside = f"{keys.aside_prefix(queue)}t:".encode() + task.id
    return script(
        _MEND_TASK,
        [keys.task_prefix(queue).encode() + task.id, keys.lease(queue), aside],
        [
            keys.prefix(queue),
            task.id,
            task.digest,
            place,
            int(score),
            state,
            int(now) + _LEASE,
            constants.ARCHIVE_MAX - 1 if capped else "",
            int(now * 1_000_000_000),
            *task.seen,
        ],
        int,
    )


def mend_lock(queue: str, lock: Lock, digest: str) -> Op[int]:
    """Release a lock; *digest* is the sha1 of its holder's message, or empty."""
    task = keys.task_prefix(queue).encode() + lock.holder
    return script(_MEND_LOCK, [lock.key, task], [lock.holder, digest], int)


def relist_group(queue: str, group: str) -> Op[int]:
    """List a group if it has tasks, and only then."""
    return script(
        _RELIST_GROUP,
        [keys.group(queue, group), keys.groups(queue), keys.aggregation_sets(queue)],
        [group],
        int,
    )


def regroup(queue: str, set_key: str, group: str, deadline: float | None) -> Op[int]:
    """Put a slice of the tasks of a staged set back into *group*; a set without tasks is forgotten."""
    return script(
        _REGROUP,
        [set_key, keys.group(queue, group), keys.groups(queue), keys.aggregation_sets(queue)],
        ["" if deadline is None else f"{deadline:.17g}", group, SLICE],
        int,
    )


def set_aside(queue: str, key: bytes, kind: str, *, counter: bool, now: float) -> Op[int]:
    """Rename a key that is of the wrong type, or a counter that is no number."""
    name = key[len(keys.prefix(queue).encode()) :]
    aside = f"{keys.aside_prefix(queue)}{int(now)}:".encode() + name
    return script(_SET_ASIDE, [key, aside], [kind, int(counter)], int)


def persist(key: bytes) -> Op[int]:
    """Let a key stay for good."""
    return command("PERSIST", [key], [], int)


def clear_debris(queue: str, left: Sequence[bytes]) -> Op[int]:
    """Delete counters and marks of a queue, unless it has tasks."""
    return script(
        _CLEAR_DEBRIS,
        [
            keys.pending(queue),
            keys.active(queue),
            keys.scheduled(queue),
            keys.retry(queue),
            keys.archived(queue),
            keys.completed(queue),
            keys.groups(queue),
            keys.aggregation_sets(queue),
        ],
        left,
        int,
    )


def forget_dead(key: str, *, until: int) -> Op[int]:
    """Take entries that expired before *until* out of a presence record."""
    return command(
        "ZREMRANGEBYSCORE", [key], ["-inf", f"({until}"], lambda reply: min(int(reply), 1)
    )


def self_test(prefix: str) -> Op[list[str]]:
    """
    Commands that scripts need and this user may not call on keys that begin with *prefix*.

    They are tried on a scratch key, which is gone again when the script ends.
    """
    return script(
        _SELF_TEST, [f"{prefix}self-test"], [], lambda reply: [text(one) for one in reply]
    )
