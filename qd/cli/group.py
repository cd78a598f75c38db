"""`qd group`: groups of tasks that wait to be aggregated into one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from qd.cli.frame import Group
from qd.cli.render import Column
from qd.cli.session import Session, with_session

if TYPE_CHECKING:
    from qd.inspector.views import GroupView


@click.command(
    "group",
    cls=Group,
    short_help="List groups of tasks that wait to be aggregated.",
    examples=("qd group ls", "qd task ls --group user:7"),
)
def group() -> None:
    """
    List groups of tasks that wait to be aggregated.

    Tasks enqueued with --group wait until a scheduler process merges them into one task.
    """


@group.command("ls", examples=("qd group ls", "qd group ls -q low --json"))
@click.option(
    "-q", "--queue", "queues", metavar="NAME", multiple=True, help="Only of this queue; repeatable."
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
