"""Are keys, groups, staged sets and locks what they should be? Each with its repair if it is not."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection

from qd.errors import DecodeError
from qd.inspector.doctor.finding import Finding
from qd.protocol import codec, constants, keys
from qd.protocol.op import Op, text
from qd.protocol.ops import doctor
from qd.protocol.ops.doctor import Lock
from qd.protocol.ops.tasks import announce

CONTAINERS = {
    "pending": "list",
    "active": "list",
    "lease": "zset",
    "scheduled": "zset",
    "retry": "zset",
    "archived": "zset",
    "completed": "zset",
    "groups": "set",
    "aggregation_sets": "zset",
}
"""Names behind a queue's prefix and the types of what stands there; none of it may expire."""

_COUNTERS = ("processed", "failed")

_SET_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_DEAD_AFTER = 60
"""Seconds after which the entry of a silent process is left over; readers drop it after ten."""

_RECORDS = (keys.SERVERS, keys.WORKERS, keys.SCHEDULERS)


def wanted_type(name: str) -> str | None:
    """Return the type that a key should have, given its name behind the prefix; None: unknown."""
    head = name.partition(":")[0]
    if name in CONTAINERS:
        return CONTAINERS[name]
    if name == "paused" or head in (*_COUNTERS, "unique"):
        return "string"
    if head == "g":
        return "zset"
    # What versions of asynq before 0.22 kept leases in.
    return "zset" if name == "deadlines" else None


def judge_key(
    queue: str, key: bytes, found: tuple[str, bool, bool], *, now: float
) -> Finding | None:
    """Return what is wrong with one key: *found* is its type, if it expires, if it is a number."""
    kind, expires, number = found
    name = text(key)[len(keys.prefix(queue)) :]
    wanted = wanted_type(name)
    counter = name.partition(":")[0] in _COUNTERS
    if kind == "none":
        return None
    if wanted is None:
        return Finding("unknown-key", queue, key, f"a {kind}")
    if kind != wanted or (counter and not number):
        rule = "wrong-type" if kind != wanted else "not-a-number"
        return Finding(
            rule,
            queue,
            key,
            f"a {kind}, not a {wanted}" if kind != wanted else "no whole number",
            f"is renamed to {keys.aside_prefix(queue)}...",
            doctor.set_aside(queue, key, kind, counter=counter, now=now),
        )
    if expires and (name in CONTAINERS or name.startswith("g:")):
        return Finding("expiring", queue, key, "has a TTL", "is kept", doctor.persist(key))
    return None


def judge_group(
    queue: str, key: bytes, found: tuple[str, float | None, bool], *, now: float
) -> Finding | None:
    """Return what is wrong with a group or a staged set: *found* is type, deadline, if it is listed."""
    kind, deadline, listed = found
    name = text(key)[len(keys.group_prefix(queue)) :]
    group, _, tail = name.rpartition(":")
    is_set = deadline is not None or (bool(_SET_ID.fullmatch(tail)) and not listed and bool(group))
    if kind == "none":
        if deadline is not None:
            repair = doctor.regroup(queue, text(key), group, deadline)
            return Finding("missing-set", queue, key, "listed, no key", "is forgotten", repair)
        if listed:
            repair = doctor.relist_group(queue, name)
            return Finding("empty-group", queue, key, "listed, no key", "is not listed", repair)
        return None
    if kind != "zset":
        return None
    if not is_set:
        if listed:
            return None
        repair = doctor.relist_group(queue, name)
        return Finding("unlisted-group", queue, key, "not in `groups`", "is listed", repair)
    if deadline is not None and deadline > now - constants.AGGREGATION_TIMEOUT:
        return None
    rule, seen = "unlisted-set", "not in `aggregation_sets`"
    if deadline is not None:
        rule, seen = "stale-set", f"{now - deadline:.0f} s over its time"
    repair = doctor.regroup(queue, text(key), group, deadline)
    return Finding(rule, queue, key, seen, "its tasks go back into their group", repair)


def judge_lock(queue: str, lock: Lock) -> Finding | None:
    """Return what is wrong with a lock whose holder's hash does not name it."""
    seen = "its holder is gone"
    digest = ""
    if lock.message is not None:
        try:
            message = codec.decode_task(lock.message)
        except DecodeError:
            # Nobody can tell what it holds.
            return None
        if message.terms.unique_key.encode() == lock.key:
            return None
        seen = "the task with its holder's id does not hold it"
        digest = hashlib.sha1(lock.message, usedforsecurity=False).hexdigest()
    return Finding(
        "leaked-lock",
        queue,
        lock.key,
        f"{seen}: {text(lock.holder)}",
        "is released",
        doctor.mend_lock(queue, lock, digest),
        lock.holder,
    )


def judge_registration(queue: str, *, has_tasks: bool, left: Collection[bytes]) -> Finding | None:
    """Return what is wrong with a queue that is not on the list; *left* are keys beside its tasks."""
    subject = queue.encode()
    prefix = keys.prefix(queue)
    left = [one for one in left if wanted_type(text(one)[len(prefix) :]) == "string"]
    if has_tasks:
        return Finding(
            "unregistered",
            queue,
            subject,
            f"not in {keys.QUEUES}",
            "is registered",
            announce([queue]),
        )
    if not left:
        return None
    shown = ", ".join(sorted(text(one)[len(prefix) :] for one in left)[:3])
    repair = doctor.clear_debris(queue, sorted(left))
    return Finding("debris", queue, subject, f"{len(left)} keys: {shown}", "they go", repair)


def dead_entries(counts: Collection[int], *, now: float) -> list[Finding]:
    """Return what is wrong with the records of processes: *counts* of entries long expired."""
    until = int(now) - _DEAD_AFTER
    return [
        Finding(
            "dead-entries",
            "",
            key.encode(),
            f"{count} entries expired more than a minute ago",
            "they go",
            doctor.forget_dead(key, until=until),
        )
        for key, count in zip(_RECORDS, counts, strict=True)
        if count
    ]


def count_dead_entries(*, now: float) -> list[Op[int]]:
    """The operations whose answers `dead_entries` takes."""
    return [doctor.dead_entries(key, until=int(now) - _DEAD_AFTER) for key in _RECORDS]
