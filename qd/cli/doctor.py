"""`qd doctor`: the check-list for "why does nothing happen?", walked from the bottom up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from qd.cli.checks import PROBLEM, Check, check_queues, check_redis, check_types, check_workers
from qd.cli.frame import Command
from qd.cli.render import Column, plural
from qd.cli.session import Session, with_session
from qd.errors import ExitCode
from qd.protocol.state import TaskState

if TYPE_CHECKING:
    from qd.inspector.views import QueueView


@click.command(
    "doctor",
    cls=Command,
    short_help="Check Redis, workers and queues, and say which point fails.",
    examples=("qd doctor", "qd doctor --json", "qd doctor -c /etc/qd/qd.yaml"),
)
@with_session
def doctor(session: Session) -> None:
    """
    Check Redis, workers and queues, and say which point fails.

    Nothing is changed. Exit code 1 if there is a problem; warnings alone are fine.
    """
    settings = session.settings
    checks = [Check("configuration", detail=str(session.loaded.path or "defaults, no file"))]
    checks += check_redis(session.link, now=time.time())
    views = session.inspector.stats.overview().queues
    prefix = settings.queue_prefix
    queues = [view for view in views if view.name.startswith(prefix)]
    servers = session.inspector.servers.list()
    checks += check_workers(servers)
    checks += check_queues(queues, servers)
    checks += check_types(_waiting_types(session, queues), servers)
    columns: list[Column[Check]] = [
        Column("RESULT", lambda check: check.result),
        Column("POINT", lambda check: check.point),
        Column("DETAIL", lambda check: check.detail),
        Column("TRY", lambda check: check.hint),
    ]
    session.out.rows("qd.doctor/1", "checks", checks, columns, asdict, empty="")
    problems = sum(check.result == PROBLEM for check in checks)
    if problems:
        session.out.say(f"{plural(problems, 'problem')} found")
        click.get_current_context().exit(ExitCode.FAILED)


_SAMPLE = 200
"""Tasks of each queue and state whose types are looked at."""


def _waiting_types(session: Session, queues: Sequence[QueueView]) -> dict[str, str]:
    """Return the types of tasks that wait for a worker, each with a queue it waits in."""
    types: dict[str, str] = {}
    for view in queues:
        for state in (TaskState.PENDING, TaskState.RETRY):
            if getattr(view, state):
                for task in session.inspector.tasks.list(view.name, state, limit=_SAMPLE):
                    if task.type:
                        types.setdefault(task.type, view.name)
    return types
