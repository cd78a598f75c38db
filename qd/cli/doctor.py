"""`qd doctor`: the check-list for "why does nothing happen?", walked from the bottom up."""

from __future__ import annotations

import time
from dataclasses import asdict

import click

from qd.cli.checks import PROBLEM, Check, check_queues, check_redis, check_workers
from qd.cli.frame import Command
from qd.cli.render import Column, plural
from qd.cli.session import Session, with_session
from qd.errors import ExitCode


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

    Nothing is changed. Exit code 1 if there is a problem; warnings alone are fine. Whether some
    worker has a handler for the types that wait cannot be seen from here: workers publish their
    queues, not their types.
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
