"""`qd group`: groups of tasks that wait to be aggregated into one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from qd.cli import candidates
from qd.cli.frame import Group
from qd.cli.outcome import act_on_each
from qd.cli.render import Column, plural
from qd.cli.session import Session, with_session
from qd.errors import NotFound, UsageError
from qd.suggest import did_you_mean

if TYPE_CHECKING:
    from qd.inspector.views import GroupView


@click.command(
    "group",
    cls=Group,
    short_help="List groups of tasks that wait to be aggregated, or flush them.",
    examples=("qd group ls", "qd group flush user:7", "qd task ls --group user:7"),
)
def group() -> None:
    """
    List groups of tasks that wait to be aggregated, or flush them.

    Tasks enqueued with --group wait until a scheduler process merges them into one task.
    """


@group.command("ls", examples=("qd group ls", "qd group ls -q low --json"))
@click.option(
    "-q",
    "--queue",
    "queues",
    metavar="NAME",
    shell_complete=candidates.queues,
    multiple=True,
    help="Only of this queue; repeatable.",
)
@with_session
def ls(session: Session, queues: tuple[str, ...]) -> None:
    """
    List the groups of all queues, with the number of tasks that wait in each.

    Tasks that are being merged at this moment are in none.
    """
    found = [
        (queue, view)
        for queue in session.chosen(queues)
        for view in session.inspector.groups.list(queue)
    ]
    columns: list[Column[tuple[str, GroupView]]] = [
        Column("QUEUE", lambda row: row[0]),
        Column("GROUP", lambda row: row[1].name),
        Column("TASKS", lambda row: row[1].size),
    ]
    session.out.rows(
        "qd.group.ls/1",
        "groups",
        found,
        columns,
        lambda row: {"queue": row[0], **row[1].as_dict()},
        empty="No group has tasks.",
    )


@group.command(
    "flush",
    examples=(
        "qd group flush user:7",
        "qd group flush user:7 user:9 -q low",
        "qd group flush --all",
    ),
)
@click.argument("names", nargs=-1, metavar="[GROUP...]", shell_complete=candidates.groups)
@click.option("--all", "everything", is_flag=True, help="All groups.")
@click.option(
    "-q",
    "--queue",
    "queues",
    metavar="NAME",
    shell_complete=candidates.queues,
    multiple=True,
    help="Only of this queue; repeatable.",
)
@with_session
def flush(
    session: Session, names: tuple[str, ...], everything: bool, queues: tuple[str, ...]
) -> None:
    """
    Let groups be merged now, without waiting for more tasks.

    A scheduler process merges them at its next look, within seconds, if its application has an
    aggregator for them; those of Go services do as well. Tasks that come in meanwhile may make a
    group wait again.
    """
    if bool(names) == everything:
        raise UsageError(
            "Both groups and --all are given" if names else "Neither groups nor --all is given",
            hint="`qd group ls` lists the groups.",
        )
    groups = session.inspector.groups
    known = {queue: groups.names(queue) for queue in session.chosen(queues)}
    every = sorted({name for listed in known.values() for name in listed})

    def act(name: str) -> tuple[dict[str, Any], str]:
        places = [queue for queue, listed in known.items() if name in listed]
        if not places:
            raise NotFound(
                f'No task waits in a group "{name}".{did_you_mean(name, every)}',
                hint="`qd group ls` lists the groups.",
            )
        tasks = sum(groups.flush(queue, name) for queue in places)
        document = {"group": name, "queues": places, "tasks": tasks}
        return document, f"{name} is merged at the next look, {plural(tasks, 'task')}"

    if everything and not every:
        session.out.say("No group has tasks.")
    act_on_each(session, "qd.group.flush/1", every if everything else names, act)
