"""`qd worker` and `qd scheduler`: flags to settings, then the supervisor takes over."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

import click

from qd.cli.frame import Command
from qd.cli.session import Session, with_session

_LEVELS = ("debug", "info", "warning", "error")
_LOG_FORMATS = ("auto", "text", "json")


@click.command(
    "worker",
    cls=Command,
    short_help="Run tasks: supervised worker processes and the scheduler process.",
    examples=(
        "qd worker --app shop.tasks",
        "qd worker --app shop.tasks:app -q critical=10,default=4 --processes 4",
        "qd worker --app shop.tasks --check",
    ),
)
@click.option("--app", metavar="MOD[:ATTR]", help="Your module; else `app` of the configuration.")
@click.option(
    "-q",
    "--queues",
    multiple=True,
    metavar="NAME=WEIGHT,...",
    help="Queues to serve, with weights; instead of those configured. May be repeated.",
)
@click.option("--processes", metavar="N", help="Worker processes; 0 for the CPUs there are.")
@click.option("--concurrency", metavar="N", help="Tasks at a time in each process.")
@click.option("--strict", is_flag=True, help="Serve a queue only while all weightier are empty.")
@click.option("--no-scheduler", is_flag=True, help="Start no scheduler process.")
@click.option("--burst", is_flag=True, help="End when no task is left.")
@click.option("--reload", is_flag=True, help="Reload when a source file changes (development).")
@click.option("--check", is_flag=True, help="Load configuration and app, start nothing.")
@click.option("--shutdown-timeout", metavar="DURATION", help="How long to wait for tasks on TERM.")
@click.option("--log-level", type=click.Choice(_LEVELS))
@click.option("--log-format", type=click.Choice(_LOG_FORMATS))
@with_session
def worker(
    session: Session,
    /,
    app: str | None,
    queues: tuple[str, ...],
    strict: bool,
    no_scheduler: bool,
    burst: bool,
    reload: bool,
    check: bool,
    **flags: str | None,
) -> None:
    """
    Run tasks: supervised worker processes and the scheduler process.

    TERM or INT stops gracefully: no new tasks, wait for running ones, put the rest back. A second
    one puts them back at once. HUP reads the configuration again and replaces the processes one by
    one; a bad configuration changes nothing. TTIN and TTOU add and take away a process.
    """
    if reload:
        from qd.app.reloader import run_reloading

        arguments = [one for one in sys.argv[1:] if one != "--reload"]
        click.get_current_context().exit(run_reloading(arguments, Path.cwd(), session.out.say))
    _override(
        session,
        {
            "app": app,
            "queues": ",".join(queues) or None,
            "worker.processes": flags["processes"],
            "worker.concurrency": flags["concurrency"],
            "worker.strict_priority": strict or None,
            "worker.shutdown_timeout": flags["shutdown_timeout"],
            "scheduler.enabled": False if no_scheduler else None,
            "log.level": flags["log_level"],
            "log.format": flags["log_format"],
        },
    )
    # Nothing of what is imported now is garbage; `run_worker` turns it on again, when all is there.
    gc.disable()
    from qd.app import run

    request = run.Request(
        session.settings, session.settings.app, burst=burst, reload=session.reload
    )
    if check:
        run.check(request)
        session.out.say("Configuration and app are fine.")
        return
    click.get_current_context().exit(run.run_worker(request, session.out.say))


@click.command(
    "scheduler",
    cls=Command,
    short_help="Run the scheduler process alone, without workers.",
    examples=("qd scheduler --app shop.tasks", "qd scheduler --app shop.tasks -c /etc/qd/qd.yaml"),
)
@click.option("--app", metavar="MOD[:ATTR]", help="Your module; else `app` of the configuration.")
@click.option("--log-level", type=click.Choice(_LEVELS))
@click.option("--log-format", type=click.Choice(_LOG_FORMATS))
@with_session
def scheduler(
    session: Session, /, app: str | None, log_level: str | None, log_format: str | None
) -> None:
    """
    Run the scheduler process alone, without workers.

    It lets delayed tasks run when they are due, recovers tasks of dead workers, and enqueues
    periodic tasks. Any number of them may run; a periodic task is enqueued once all the same.
    """
    _override(session, {"app": app, "log.level": log_level, "log.format": log_format})
    gc.disable()  # as above
    from qd.app import run

    request = run.Request(
        session.settings, session.settings.app, workers=False, reload=session.reload
    )
    click.get_current_context().exit(run.run_worker(request, session.out.say))


def _override(session: Session, values: dict[str, Any]) -> None:
    """Let flags win over the configuration; those that were not given are None."""
    given = {key: value for key, value in values.items() if value is not None}
    session.flags.overrides.update(given)
