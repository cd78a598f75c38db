"""The points of `qd doctor` about work: is there enough to do it, why does it fail, who starts it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from qd.cli.checks import PROBLEM, WARNING, Check
from qd.cli.deaths import kind_of
from qd.cli.render import plural, rough

if TYPE_CHECKING:
    from qd.inspector.views import EntryView, QueueView, ServerView, TaskView

_BUSY = 60.0
"""Seconds that the next task of a queue may wait before its backlog is worth a word."""

_OVERDUE = 10.0
"""Seconds after which a due task has been forgotten: promotion takes less than one."""

_ROUNDS = 10
"""Tasks per slot from which on a backlog is one."""

_REASONS = 2
"""Kinds of errors that are named."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_UNIT = "qd.service"
_STOP_MARGIN = 5.0
"""Seconds beyond shutdown_timeout that the supervisor may take to end its children."""

_UNITS = {
    "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0,
}  # fmt: skip


def check_capacity(queues: Sequence[QueueView], servers: Sequence[ServerView]) -> Iterable[Check]:
    """Look for queues whose tasks wait because too few can run at a time."""
    for view in queues:
        slots = sum(
            one.concurrency
            for one in servers
            if one.status == "active" and view.name in dict(one.queues)
        )
        if slots and not view.paused and view.latency > _BUSY and view.pending > _ROUNDS * slots:
            yield Check(
                f"queue {view.name}",
                WARNING,
                f"{view.pending} tasks wait, the next one for {rough(view.latency)}; {slots} can "
                "run at a time",
                "Raise worker.concurrency (or processes), or start workers on another host.",
            )


def check_failures(tasks: Mapping[tuple[str, str], Sequence[TaskView]]) -> Iterable[Check]:
    """Say why tasks are tried again or dead; *tasks* are samples by queue and state."""
    for (queue, state), sample in tasks.items():
        failed = [one for one in sample if one.error or one.cause]
        if not failed:
            continue
        kinds = Counter((one.type, kind_of(one.error or one.cause)) for one in failed)
        shown = "; ".join(
            f"{count} x {task_type}: {error}"
            for (task_type, error), count in kinds.most_common(_REASONS)
        )
        more = len(kinds) - _REASONS
        dead = state == "archived"
        yield Check(
            f"queue {queue}",
            WARNING,
            f"{'dead' if dead else 'tried again'}, of {len(sample)} looked at: {shown}"
            + (f"; {plural(more, 'other reason')}" if more > 0 else ""),
            f"qd dlq groups -q {queue}" if dead else f"qd task why {failed[-1].id}",
        )


def check_due(
    tasks: Mapping[tuple[str, str], Sequence[TaskView]], now: datetime
) -> Iterable[Check]:
    """Look for tasks whose time has come and that nobody promotes; *tasks* as above."""
    for (queue, state), sample in tasks.items():
        due = sample[0].next_at if sample and state in ("scheduled", "retry") else None
        late = (now - due).total_seconds() if due else 0.0
        if late > _OVERDUE:
            yield Check(
                f"queue {queue}",
                PROBLEM,
                f"a task in {state} was due {rough(late)} ago, and nobody moves it on",
                "Start `qd scheduler`, or `qd worker` without --no-scheduler, for this queue.",
            )


def check_schedulers(entries: Sequence[EntryView]) -> list[Check]:
    """
    Look for periodic tasks that are enqueued more than once per tick.

    Schedulers of qd agree on one; each of asynq's, whose entries have random ids, enqueues by itself.
    """
    owners: dict[tuple[str, str, bytes, tuple[str, ...]], set[str]] = {}
    for one in entries:
        if _UUID.fullmatch(one.id):
            key = (one.spec, one.type, one.payload, one.options)
            owners.setdefault(key, set()).add(one.scheduler_id)
    doubled = {key: some for key, some in owners.items() if len(some) > 1}
    if doubled:
        (spec, task_type, _, _), some = next(iter(doubled.items()))
        return [
            Check(
                "schedulers",
                PROBLEM,
                f"{len(some)} Go schedulers each enqueue {task_type} at {spec}"
                + (f", and {len(doubled) - 1} more alike" if len(doubled) > 1 else ""),
                "Run one Go scheduler, or move the schedule to qd, where any number may run.",
            )
        ]
    count = len({one.scheduler_id for one in entries})
    return [Check("schedulers", detail=f"{plural(count, 'scheduler')} with periodic tasks")]


def check_stop(shutdown_timeout: float, unit: str = _UNIT) -> list[Check]:
    """Compare the limit that systemd has for a stop with ours; nothing where there is no such unit."""
    program = shutil.which("systemctl")
    if program is None:
        return []
    asked = [program, "show", unit, "--property=LoadState,TimeoutStopUSec"]
    try:
        done = subprocess.run(  # noqa: S603 - fixed words
            asked, capture_output=True, text=True, timeout=2, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    said = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    limit = _seconds(said.get("TimeoutStopUSec", ""))
    if said.get("LoadState") != "loaded" or limit is None:
        return []
    wanted = shutdown_timeout + _STOP_MARGIN
    detail = f"{unit} may take {rough(limit)}, shutdown_timeout is {rough(shutdown_timeout)}"
    if limit < wanted:
        hint = f"Set TimeoutStopSec={wanted:.0f} or more in the unit, then systemctl daemon-reload."
        return [Check("stop", WARNING, f"{detail}: workers would be killed", hint)]
    return [Check("stop", detail=detail)]


def _seconds(text: str) -> float | None:
    """Read a time span as systemd prints it, such as `1min 30s`; None for anything else."""
    if text == "infinity":
        return float("inf")
    parts = re.findall(r"([\d.]+)(us|ms|min|s|h|d|w)\b", text)
    return sum(float(number) * _UNITS[unit] for number, unit in parts) if parts else None
