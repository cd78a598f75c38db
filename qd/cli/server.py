"""`qd server`: the worker processes that are alive. asynq calls each of them a server."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from qd.cli import candidates
from qd.cli.ask import confirm
from qd.cli.frame import Group
from qd.cli.outcome import act_on_each
from qd.cli.render import Cell, Column, plural
from qd.cli.session import Session, with_session
from qd.cli.tasktext import content
from qd.cli.types import DURATION
from qd.durations import format_duration
from qd.errors import NotFound, TimedOut, UsageError

if TYPE_CHECKING:
    from qd.inspector.views import RunningView, ServerView
    from qd.protocol.orders import Verb

_LOOK = 0.05
_TELL_AGAIN = 1.0
"""
Seconds between two looks at a process that was told something, and until it is told again: an order
is not kept for one that does not listen at this moment.
"""


@click.command(
    "server",
    cls=Group,
    short_help="List, quiet, resume or stop worker processes.",
    examples=("qd server ls", "qd server show web-1:4121", "qd server quiet web-1"),
)
def server() -> None:
    """
    List, quiet, resume or stop worker processes, on whatever host they run.

    Each reports itself every five seconds, and is shown for ten. Workers of Go services are shown
    as well. To find the one that runs a task: `qd task why ID`.
    """


def _weights(view: ServerView) -> str:
    return " ".join(f"{name}={weight}" for name, weight in view.queues)


@server.command("ls", examples=("qd server ls", "qd server ls --json"))
@with_session
def ls(session: Session) -> None:
    """
    List the worker processes of all hosts.

    BUSY is how many of its slots are running a task.
    """
    columns: list[Column[ServerView]] = [
        Column("HOST", lambda view: view.host),
        Column("PID", lambda view: view.pid),
        Column("ID", lambda view: view.id, names=True),
        Column("STATUS", lambda view: view.status),
        Column("STARTED", lambda view: view.started),
        Column("BUSY", lambda view: f"{view.active_workers}/{view.concurrency}"),
        Column("QUEUES", _weights, shrinks=True),
    ]
    session.out.rows(
        "qd.server.ls/1",
        "servers",
        session.inspector.servers.list(),
        columns,
        lambda view: view.as_dict(),
        empty="No worker process is alive. Start one with `qd worker --app MODULE`.",
    )


@server.command("show", examples=("qd server show web-1:4121", "qd server show 3f2a --json"))
@click.argument("name", metavar="HOST:PID|ID", shell_complete=candidates.servers)
@with_session
def show(session: Session, name: str) -> None:
    """
    Show one worker process and the tasks it runs.

    It is named by its host and pid, or by the beginning of its id.
    """
    view = session.inspector.servers.find(name)
    facts: dict[str, Cell] = {
        "host": view.host,
        "pid": view.pid,
        "id": view.id,
        "status": view.status,
        "started": view.started,
        "busy": f"{view.active_workers} of {view.concurrency}",
        "queues": _weights(view),
        "priority": "strict" if view.strict_priority else "weighted",
    }
    session.out.one("qd.server.show/1", "server", view.as_dict(), facts)
    if session.out.form == "table" and view.running:
        click.echo()
        columns: list[Column[RunningView]] = [
            Column("TASK", lambda task: task.task_id, names=True),
            Column("TYPE", lambda task: task.type),
            Column("QUEUE", lambda task: task.queue),
            Column("STARTED", lambda task: task.started),
            Column("DEADLINE", lambda task: task.deadline),
            Column("PAYLOAD", lambda task: content(task.payload), shrinks=True),
        ]
        session.out.table(view.running, columns)


def _order_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.argument(
            "names", nargs=-1, metavar="[HOST|HOST:PID|ID...]", shell_complete=candidates.hosts
        ),
        click.option("--all", "everything", is_flag=True, help="All worker processes of qd."),
        click.option(
            "--timeout", type=DURATION, default="15s", show_default=True, help="Wait no longer."
        ),
    ):
        command = option(command)
    return command


@server.command("quiet", examples=("qd server quiet web-1", "qd server quiet web-1:4121 3f2a"))
@_order_options
@with_session
def quiet(session: Session, names: tuple[str, ...], everything: bool, timeout: float) -> None:
    """
    Let worker processes take no new tasks; those they run go on.

    A host stands for all of its worker processes. One that is replaced, as after a crash, begins to
    take tasks again. Servers of asynq take no orders.
    """
    from qd.protocol.orders import Verb

    _order(session, _chosen(session, names, everything), Verb.QUIET, timeout)


@server.command("resume", examples=("qd server resume web-1", "qd server resume --all"))
@_order_options
@with_session
def resume(session: Session, names: tuple[str, ...], everything: bool, timeout: float) -> None:
    """
    Let worker processes that were made quiet take tasks again.

    A host stands for all of its worker processes.
    """
    from qd.protocol.orders import Verb

    _order(session, _chosen(session, names, everything), Verb.RESUME, timeout)


@server.command("stop", examples=("qd server stop web-1:4121", "qd server stop web-1 -y"))
@_order_options
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@with_session
def stop(
    session: Session, names: tuple[str, ...], everything: bool, timeout: float, yes: bool
) -> None:
    """
    Stop the `qd worker` that a worker process belongs to, with all of its processes.

    As on TERM: no new tasks, running ones may end within `shutdown_timeout`, the rest is put back.
    It is waited until the processes have left. systemd starts a unit with Restart=always again.
    """
    from qd.protocol.orders import Verb

    chosen = _chosen(session, names, everything)
    running = sum(one.active_workers for one in chosen)
    question = f"Stop {plural(len(chosen), 'worker process', 'worker processes')}?"
    sample = [f"{_name(one)}  {one.active_workers} running" for one in chosen]
    if chosen:
        confirm(f"{question} {plural(running, 'task')} running.", sample, yes=yes)
    _order(session, chosen, Verb.STOP, timeout)


def _name(view: ServerView) -> str:
    return f"{view.host}:{view.pid}"


def _chosen(session: Session, names: Sequence[str], everything: bool) -> list[ServerView]:
    if bool(names) == everything:
        raise UsageError(
            "Both names and --all are given" if names else "Neither names nor --all is given",
            hint="`qd server ls` lists the worker processes.",
        )
    servers = session.inspector.servers
    if everything:
        return [one for one in servers.list() if one.types is not None]
    found = {one.id: one for name in names for one in servers.find_all(name)}
    return list(found.values())


def _order(session: Session, servers: Sequence[ServerView], verb: Verb, timeout: float) -> None:
    """Tell each, then wait until each has obeyed."""
    by_id = {one.id: one for one in servers}
    until = time.monotonic() + timeout

    def act(server_id: str) -> tuple[dict[str, Any], str]:
        view = by_id[server_id]
        _obeyed(session, view, verb, until, timeout)
        done = {"quiet": "is quiet", "resume": "takes tasks", "stop": "has stopped"}[verb]
        document = {"id": view.id, "host": view.host, "pid": view.pid, "order": verb.value}
        return document, f"{_name(view)} {done}"

    if not servers:
        raise NotFound("No worker process is alive.", hint="Start one with `qd worker`.")
    for one in servers:
        if one.types is not None:
            session.inspector.servers.tell(one, verb)
    act_on_each(session, f"qd.server.{verb}/1", by_id, act)


def _obeyed(session: Session, view: ServerView, verb: Verb, until: float, timeout: float) -> None:
    servers = session.inspector.servers
    if view.types is None:
        servers.tell(view, verb)  # refuses, and says why
    wanted = {"quiet": "stopped", "resume": "active", "stop": None}[verb]
    tell_at = time.monotonic() + _TELL_AGAIN
    while True:
        now = {one.id: one.status for one in servers.list()}
        if now.get(view.id) == wanted or (view.id not in now and verb != "resume"):
            return
        if time.monotonic() >= until:
            raise TimedOut(
                f"{_name(view)} is {now.get(view.id, 'gone')} after {format_duration(timeout)}.",
                hint="Is it connected? A worker inside another program is stopped by that program.",
            )
        if time.monotonic() >= tell_at:
            servers.tell(view, verb)
            tell_at = time.monotonic() + _TELL_AGAIN
        time.sleep(_LOOK)
