"""`qd cron`: periodic tasks, as the schedulers that are alive publish them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from qd.cli.frame import Group
from qd.cli.render import Column, iso
from qd.cli.session import Session, with_session
from qd.errors import NotFound, QdError
from qd.suggest import did_you_mean

if TYPE_CHECKING:
    from qd.inspector.views import EntryView, EventView

_NOBODY = "No scheduler is alive, or none has periodic tasks. `qd worker` starts one."


@click.command(
    "cron",
    cls=Group,
    short_help="List periodic tasks, their next times and their history.",
    examples=("qd cron ls", "qd cron next --count 3", "qd cron history nightly-report"),
)
def cron() -> None:
    """
    List periodic tasks, their next times and their history.

    Schedulers publish their entries while they are alive; what no scheduler knows is not shown.
    """


@cron.command("ls", examples=("qd cron ls", "qd cron ls --json"))
@with_session
def ls(session: Session) -> None:
    """
    List the periodic tasks of all schedulers that are alive.

    An entry that several schedulers know is listed for each of them, and fires once all the same.
    """
    columns: list[Column[EntryView]] = [
        Column("ID", lambda entry: entry.id),
        Column("SPEC", lambda entry: entry.spec),
        Column("TYPE", lambda entry: entry.type),
        Column("NEXT", lambda entry: entry.next),
        Column("LAST", lambda entry: entry.prev),
        Column("HOST", lambda entry: entry.host),
        Column("OPTIONS", lambda entry: " ".join(entry.options), shrinks=True),
    ]
    session.out.rows(
        "qd.cron.ls/1",
        "entries",
        session.inspector.schedulers.entries(),
        columns,
        lambda entry: entry.as_dict(),
        empty=_NOBODY,
    )


class _Due(NamedTuple):
    at: datetime
    entry: EntryView

    def as_dict(self) -> dict[str, Any]:
        return {
            "at": iso(self.at),
            "id": self.entry.id,
            "spec": self.entry.spec,
            "type": self.entry.type,
        }


@cron.command("next", examples=("qd cron next", "qd cron next nightly-report --count 5"))
@click.argument("entry_id", metavar="[ID]", required=False)
@click.option("--count", type=click.IntRange(1, 1000), default=3, show_default=True)
@with_session
def next_(session: Session, entry_id: str | None, count: int) -> None:
    """
    Show when periodic tasks are due next.

    The times are counted from the specs, so they hold as long as a scheduler is alive.
    """
    due: list[_Due] = []
    # Several schedulers may know one entry; it fires once.
    for entry in {one.id: one for one in _entries(session, entry_id)}.values():
        due += _times(session, entry, count)
    columns: list[Column[_Due]] = [
        Column("AT", lambda one: iso(one.at)),
        Column("WHEN", lambda one: one.at),
        Column("ID", lambda one: one.entry.id),
        Column("SPEC", lambda one: one.entry.spec),
        Column("TYPE", lambda one: one.entry.type),
    ]
    session.out.rows(
        "qd.cron.next/1",
        "times",
        sorted(due, key=lambda one: one.at),
        columns,
        lambda one: one.as_dict(),
        empty=_NOBODY,
    )


def _times(session: Session, entry: EntryView, count: int) -> list[_Due]:
    from qd.policy.cron import parse

    try:
        schedule = parse(entry.spec)
    except QdError as error:
        session.out.say(f"{entry.id}: {error}")
        return []
    times: list[_Due] = []
    at = entry.next if entry.next is not None else schedule.next(session.out.now)
    while at is not None and len(times) < count:
        times.append(_Due(at, entry))
        at = schedule.next(at)
    return times


@cron.command("history", examples=("qd cron history nightly-report --limit 100",))
@click.argument("entry_id", metavar="ID")
@click.option("--limit", type=click.IntRange(1, 1000), default=30, show_default=True)
@with_session
def history(session: Session, entry_id: str, limit: int) -> None:
    """
    Show when a periodic task was enqueued, the latest first.

    Redis keeps the last 1,000 times. They can be shown even if no scheduler knows the entry now.
    """
    events = session.inspector.schedulers.events(entry_id, limit)
    if not events:
        _entries(session, entry_id)
    columns: list[Column[EventView]] = [
        Column("ENQUEUED", lambda event: event.enqueued_at),
        Column("AT", lambda event: event.enqueued_at and iso(event.enqueued_at)),
        Column("TASK", lambda event: event.task_id),
    ]
    session.out.rows(
        "qd.cron.history/1",
        "events",
        events,
        columns,
        lambda event: event.as_dict(),
        empty="It has not fired yet.",
        more={"id": entry_id},
    )


def _entries(session: Session, entry_id: str | None) -> list[EntryView]:
    """The entries of live schedulers, or those with the id; NotFound if there is none."""
    entries = session.inspector.schedulers.entries()
    if entry_id is None:
        return entries
    found = [entry for entry in entries if entry.id == entry_id]
    if not found:
        suggestion = did_you_mean(entry_id, [entry.id for entry in entries])
        raise NotFound(
            f'No live scheduler has an entry "{entry_id}".{suggestion}',
            hint="`qd cron ls` lists them.",
        )
    return found
