"""The points of `qd doctor`: what is looked at, what is wrong with it, what to try."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qd.cli.render import plural, rough

if TYPE_CHECKING:
    from qd.broker.link import Link
    from qd.inspector.views import QueueView, ServerView

OK = "ok"
WARNING = "warning"
PROBLEM = "problem"

_OLDEST_VERSION = (6, 2)
_SLOW = 0.05
"""Seconds for one answer from which on a worker would feel it."""

_SKEW = 5.0
"""Seconds between two clocks from which on leases and delays go wrong."""


@dataclass(frozen=True, slots=True)
class Check:
    """One point and its result."""

    point: str
    result: str = OK
    detail: str = ""
    hint: str = ""


def check_redis(link: Link, *, now: float) -> list[Check]:
    """
    Look at Redis itself. `now` is our own clock, in Unix seconds.

    Raises:
        BrokerError: It does not answer; then there is nothing more to look at.
    """
    from qd.protocol.op import command
    from qd.protocol.ops.inspect_presence import redis_info

    began = time.perf_counter()
    info = link.execute(redis_info())
    started = time.perf_counter()
    theirs = link.execute(command("TIME", [], [], _seconds))
    took = time.perf_counter() - started
    ours = now + (started - began) + took / 2
    answer = Check("redis", detail=f"answers within {took * 1000:.1f} ms")
    if took > _SLOW:
        answer = Check(
            "redis",
            WARNING,
            f"takes {took * 1000:.0f} ms for an answer",
            "Move workers nearer to it, or see what keeps it busy (SLOWLOG GET).",
        )
    return [
        answer,
        _version(info),
        _clock(theirs - ours),
        _eviction(info),
        _memory(info),
        _persistence(info),
    ]


def check_access(link: Link, queue: str) -> list[Check]:
    """Look whether this user may call what scripts need: one that stops half way loses tasks."""
    from qd.errors import BrokerRefused
    from qd.protocol import keys
    from qd.protocol.ops.doctor import self_test

    for prefix in (keys.prefix(queue), keys.own_prefix(queue)):
        try:
            denied = link.execute(self_test(prefix))
        except BrokerRefused as error:
            hint = "ACL SETUSER <name> +eval +evalsha +script|load ~asynq:* ~qd:*"
            return [Check("access", PROBLEM, f"no script may run on {prefix}*: {error}", hint)]
        if denied:
            return [
                Check(
                    "access",
                    PROBLEM,
                    f"this user may not call {', '.join(denied)} on {prefix}*",
                    f"ACL SETUSER <name> {' '.join('+' + one.lower() for one in denied)} "
                    "~asynq:* ~qd:*",
                )
            ]
    return [Check("access", detail="all commands that scripts call are allowed")]


def _seconds(reply: Any) -> float:
    return int(reply[0]) + int(reply[1]) / 1e6


def _version(info: dict[str, str]) -> Check:
    shown = info.get("redis_version", "unknown")
    found = tuple(int(part) for part in re.findall(r"\d+", shown)[:2])
    if "valkey_version" in info:
        shown = f"valkey {info['valkey_version']}"
    if found < _OLDEST_VERSION:
        return Check("version", PROBLEM, shown, "qd needs Redis 6.2 or newer, or Valkey.")
    return Check("version", detail=shown)


def _clock(skew: float) -> Check:
    if abs(skew) > _SKEW:
        side = "ahead of" if skew > 0 else "behind"
        return Check(
            "clock",
            PROBLEM,
            f"the clock of Redis is {rough(abs(skew))} {side} this host's",
            "Let both follow a time server.",
        )
    return Check("clock", detail=f"within {abs(skew) * 1000:.0f} ms of Redis")


def _eviction(info: dict[str, str]) -> Check:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return Check("eviction", detail=policy)
    result = PROBLEM if int(info.get("maxmemory", 0)) else WARNING
    return Check(
        "eviction",
        result,
        f"{policy}: tasks are deleted when memory runs out",
        "CONFIG SET maxmemory-policy noeviction",
    )


def _memory(info: dict[str, str]) -> Check:
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if not limit:
        return Check("memory", detail="no limit")
    detail = f"{used / limit:.0%} of maxmemory is used"
    if used > 0.9 * limit:
        return Check("memory", PROBLEM, detail, "Drain the queues, or raise maxmemory.")
    return Check("memory", WARNING if used > 0.7 * limit else OK, detail)


def _persistence(info: dict[str, str]) -> Check:
    if info.get("aof_enabled") == "1":
        if info.get("aof_last_write_status", "ok") != "ok":
            return Check("persistence", PROBLEM, "the append-only file cannot be written", "Disk?")
        return Check("persistence", detail="append-only file")
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        return Check("persistence", PROBLEM, "the last snapshot failed", "Is the disk full?")
    return Check(
        "persistence",
        WARNING,
        "no append-only file: a crash of Redis loses the latest tasks",
        "CONFIG SET appendonly yes",
    )


def check_workers(servers: Sequence[ServerView]) -> list[Check]:
    """Look at the worker processes that are alive."""
    if not servers:
        return [
            Check("workers", PROBLEM, "no worker process is alive", "qd worker --app MODULE"),
        ]
    active = [one for one in servers if one.status == "active"]
    slots = sum(one.concurrency for one in active)
    detail = f"{plural(len(active), 'process', 'processes')}, {slots} slots"
    if not active:
        return [Check("workers", PROBLEM, "all workers have stopped taking tasks", "Restart them.")]
    return [Check("workers", detail=detail)]


def check_types(waiting: Mapping[str, str], servers: Sequence[ServerView]) -> list[Check]:
    """Look for a handler for each type that waits; *waiting* maps types to the queue they wait in."""
    if not servers:
        return [Check("types", detail="not told: no worker process is alive")]
    told = [one.types for one in servers if one.types is not None]
    if not told or len(told) < len(servers):
        return [Check("types", detail="not told: Go servers do not publish their types")]
    known = sorted({pattern for types in told for pattern in types})
    unknown = [name for name in waiting if not name.startswith(tuple(known))]
    if not unknown:
        return [Check("types", detail=f"{plural(len(known), 'handler')}: {', '.join(known)}")]
    return [
        Check(
            f"type {name}",
            PROBLEM,
            f"waits in {waiting[name]}, and no worker has a handler for it; there are handlers for "
            f"{', '.join(known) or 'nothing'}",
            "Import the module that registers it in the module named by --app.",
        )
        for name in unknown
    ]


def check_queues(queues: Sequence[QueueView], servers: Sequence[ServerView]) -> list[Check]:
    """Look at each queue; those with nothing to say about are one line together."""
    served = {name for one in servers if one.status == "active" for name, _ in one.queues}
    found = [check for view in queues for check in _queue(view, served)]
    fine = len(queues) - len({check.point for check in found})
    return [*found, Check("queues", detail=f"{plural(fine, 'queue')} without a finding")]


def _queue(view: QueueView, served: set[str]) -> Iterable[Check]:
    from qd.protocol.constants import ARCHIVE_MAX

    point = f"queue {view.name}"
    for problem in view.problems:
        yield Check(point, PROBLEM, problem, "Find out who wrote that key.")
    if view.pending and view.name not in served:
        yield Check(
            point,
            PROBLEM,
            f"{plural(view.pending, 'task')} pending, and no worker serves it",
            "Add it to `queues` of a worker, or start one with -q.",
        )
    if view.pending and view.paused:
        yield Check(
            point,
            WARNING,
            f"paused, with {plural(view.pending, 'task')} pending",
            f"qd queue resume {view.name}",
        )
    if view.orphaned:
        yield Check(
            point,
            WARNING,
            f"{plural(view.orphaned, 'running task')} without a live lease",
            "A scheduler process recovers them; is one running?",
        )
    if view.archived >= ARCHIVE_MAX:
        yield Check(
            point,
            WARNING,
            f"{view.archived} dead tasks: the oldest are deleted for each new one",
            f"qd dlq groups -q {view.name}",
        )
