"""`qd doctor`: the check-list for "why does nothing happen?", walked from the bottom up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from qd.cli import candidates
from qd.cli.checks import (
    PROBLEM,
    Check,
    check_access,
    check_queues,
    check_redis,
    check_types,
    check_workers,
)
from qd.cli.checks_work import (
    check_capacity,
    check_due,
    check_failures,
    check_schedulers,
    check_stop,
)
from qd.cli.frame import Command
from qd.cli.render import Column, plural
from qd.cli.session import Session, with_session
from qd.errors import ExitCode, UsageError
from qd.protocol.state import TaskState

if TYPE_CHECKING:
    from qd.inspector.views import QueueView, TaskView

    Sample = dict[tuple[str, str], Sequence[TaskView]]


@click.command(
    "doctor",
    cls=Command,
    short_help="Say which point fails; repair what is stored wrongly.",
    examples=(
        "qd doctor",
        "qd doctor --quick --json",
        "qd doctor --fix",
    ),
)
@click.option(
    "-q",
    "--queue",
    "queues",
    metavar="NAME",
    shell_complete=candidates.queues,
    multiple=True,
    help="Only this queue; repeatable.",
)
@click.option("--quick", is_flag=True, help="Leave out the walk through everything stored.")
@click.option("--fix", is_flag=True, help="Repair what is stored wrongly; asks first.")
@click.option("-y", "--yes", is_flag=True, help="With --fix: do not ask.")
@with_session
def doctor(session: Session, queues: tuple[str, ...], *, quick: bool, fix: bool, yes: bool) -> None:
    """
    Check Redis, workers, queues and all that is stored, and say which point fails.

    Nothing is changed. Exit code 1 if there is a problem; warnings alone are fine. The walk through
    everything stored takes some 20 seconds for a million tasks, in small steps that hold nobody up.

    With --fix, only the walk is made. What is stored wrongly is repaired, step by step, each only if
    nothing has changed since it was seen: safe at work, to repeat and to interrupt. Tasks of which
    nobody knows how they ended go to the dead letters.
    """
    from qd.cli import store_check

    if fix:
        if quick:
            raise UsageError("--fix repairs what --quick leaves out", hint="Take one of them.")
        store_check.fix(session, queues, yes=yes)
        return
    checks = _environment(session, [session.stored(name) for name in queues])
    more: dict[str, Any] = {"store": None, "findings": None}
    if not quick:
        _, report = store_check.look(session, queues)
        checks += store_check.as_checks(report)
        more = store_check.document(report)
    columns: list[Column[Check]] = [
        Column("RESULT", lambda check: check.result),
        Column("POINT", lambda check: check.point),
        Column("DETAIL", lambda check: check.detail, flows=True),
        Column("TRY", lambda check: check.hint, flows=True),
    ]
    session.out.rows("qd.doctor/2", "checks", checks, columns, asdict, empty="", more=more)
    problems = sum(check.result == PROBLEM for check in checks)
    if problems:
        session.out.say(f"{plural(problems, 'problem')} found")
        click.get_current_context().exit(ExitCode.FAILED)


def _environment(session: Session, named: Sequence[str]) -> list[Check]:
    """All points but the store, from the bottom up."""
    settings, link = session.settings, session.link
    now = time.time()  # Behind what the link imports, or the clocks would seem to differ.
    checks = [Check("configuration", detail=str(session.loaded.path or "defaults, no file"))]
    checks += check_redis(link, now=now)
    views = session.inspector.stats.overview().queues
    queues = [
        view
        for view in views
        if (view.name in named if named else view.name.startswith(settings.queue_prefix))
    ]
    checks += check_access(link, queues[0].name if queues else session.stored("default"))
    servers = session.inspector.servers.list()
    checks += check_workers(servers)
    checks += check_stop(settings.worker.shutdown_timeout)
    checks += check_schedulers(session.inspector.schedulers.entries())
    checks += check_queues(queues, servers)
    checks += check_capacity(queues, servers)
    tasks = _sample(session, queues)
    checks += check_due(tasks, datetime.fromtimestamp(now, UTC))
    checks += check_failures(tasks)
    checks += check_types(_waiting_types(tasks), servers)
    return checks


_SAMPLE = 200
"""Tasks of each queue and state that are looked at: the next ones, and the latest dead ones."""

_SAMPLED = (TaskState.PENDING, TaskState.SCHEDULED, TaskState.RETRY, TaskState.ARCHIVED)


def _sample(session: Session, queues: Sequence[QueueView]) -> Sample:
    found: Sample = {}
    for view in queues:
        for state in _SAMPLED:
            count = getattr(view, state)
            if count:
                offset = max(0, count - _SAMPLE) if state is TaskState.ARCHIVED else 0
                found[view.name, state.value] = session.inspector.tasks.list(
                    view.name, state, offset=offset, limit=_SAMPLE
                )
    return found


def _waiting_types(tasks: Sample) -> dict[str, str]:
    """Return the types of tasks that wait for a worker, each with a queue it waits in."""
    types: dict[str, str] = {}
    for (queue, state), sample in tasks.items():
        if state in (TaskState.PENDING, TaskState.RETRY):
            for task in sample:
                if task.type:
                    types.setdefault(task.type, queue)
    return types
