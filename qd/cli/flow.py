"""`qd flow`: tasks that follow each other, how far they are, and where they have stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from qd.cli.frame import Group
from qd.cli.render import Cell, Column
from qd.cli.session import Session, with_session

if TYPE_CHECKING:
    from qd.inspector.flows import FlowView


@click.command(
    "flow",
    cls=Group,
    short_help="List flows of tasks that follow each other, show one.",
    examples=("qd flow ls", "qd flow show 0197c0de-5a10-7cc2-9d6e-1b1f5a1b2c3d"),
)
def flow() -> None:
    """
    List flows of tasks that follow each other, show one.

    Flows are made in Python, with `qd.chain` and `qd.gather`. Each link is a task, with the id
    flow:FLOW:NUMBER, once those before it have succeeded.
    """


@flow.command("ls", examples=("qd flow ls", "qd flow ls --limit 200 --json"))
@click.option("--limit", type=click.IntRange(1, 10_000), default=30, show_default=True)
@with_session
def ls(session: Session, limit: int) -> None:
    """
    List the flows that are not over, those at work first.

    A failed flow has a dead link: it goes on when that is brought back (`qd dlq requeue`) and
    succeeds. A broken one has a link that was deleted or revoked: what is behind it never runs.
    """
    columns: list[Column[FlowView]] = [
        Column("FLOW", lambda one: one.id),
        Column("STATE", lambda one: one.state),
        Column("ENDED", lambda one: f"{one.ended}/{one.links}"),
        Column("STOPPED AT", lambda one: one.stopped_at or "-"),
        Column("CREATED", lambda one: one.created),
        Column("CHANGED", lambda one: one.changed),
    ]
    session.out.rows(
        "qd.flow.ls/1",
        "flows",
        session.inspector.flows.list(session.stored(""), limit=limit),
        columns,
        lambda one: one.as_dict(),
        empty="No flow is under way.",
    )


@flow.command("show", examples=("qd flow show order-7", "qd flow show order-7 --from 31 --json"))
@click.argument("flow_id", metavar="ID")
@click.option("--from", "first", type=click.IntRange(1), default=1, help="Begin with this link.")
@click.option("--limit", type=click.IntRange(0, 500), default=30, show_default=True)
@with_session
def show(session: Session, flow_id: str, first: int, limit: int) -> None:
    """
    Show one flow: how it stands, and the state of its links.

    Links that wait are not enqueued yet. A flow that has ended is kept as long as its last links.
    """
    flows = session.inspector.flows
    view = flows.get(flow_id)
    links = flows.links(flow_id, first=first, limit=limit)
    facts: dict[str, Cell] = {
        "flow": view.id,
        "state": view.state,
        "ended": f"{view.ended} of {view.links} links",
        "dead": view.dead or None,
        "gone": view.gone or None,
        "stopped at": view.stopped_at,
        "created": view.created,
        "changed": view.changed,
        **{
            f"link {one.number}": f"{one.state}, {one.type} in {one.queue}: {one.id}"
            for one in links
        },
    }
    present = {name: value for name, value in facts.items() if value not in (None, "")}
    document = {**view.as_dict(), "shown": [one.as_dict() for one in links]}
    session.out.one("qd.flow.show/1", "flow", document, present)
