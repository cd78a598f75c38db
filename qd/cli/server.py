"""`qd server`: the worker processes that are alive. asynq calls each of them a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from qd.cli.frame import Group
from qd.cli.render import Cell, Column
from qd.cli.session import Session, with_session
from qd.cli.tasktext import content

if TYPE_CHECKING:
    from qd.inspector.views import RunningView, ServerView


@click.command(
    "server",
    cls=Group,
    short_help="List the worker processes that are alive, and what they run.",
    examples=("qd server ls", "qd server show web-1:4121"),
)
def server() -> None:
    """
    List the worker processes that are alive, and what they run.

    Each reports itself every five seconds, and is shown for ten. Workers of Go services are shown
    as well.
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
        Column("ID", lambda view: view.id),
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
@click.argument("name", metavar="HOST:PID|ID")
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
            Column("TASK", lambda task: task.task_id),
            Column("TYPE", lambda task: task.type),
            Column("QUEUE", lambda task: task.queue),
            Column("STARTED", lambda task: task.started),
            Column("DEADLINE", lambda task: task.deadline),
            Column("PAYLOAD", lambda task: content(task.payload), shrinks=True),
        ]
        session.out.table(view.running, columns)
