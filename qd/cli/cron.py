"""`qd cron`: look at periodic tasks. What changes them is in `cron_change`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from qd.cli import candidates, cron_change
from qd.cli.frame import Group
from qd.cli.render import Cell, Column, iso
from qd.cli.session import Session, with_session
from qd.durations import format_duration
from qd.errors import NotFound, QdError

if TYPE_CHECKING:
    from qd.inspector.periodic import PeriodicView
    from qd.inspector.views import EventView
    from qd.policy.cron import Schedule

_NOBODY = "No scheduler is alive, or none has periodic tasks. `qd worker` starts one."
_FEW = 3
_MANY = 1000


@click.command(
    "cron",
    cls=Group,
    short_help="List, run, pause, add and make up for periodic tasks.",
    examples=(
        "qd cron ls",
        "qd cron next --days 7",
        "qd cron add nightly-report '0 3 * * *' report:daily --timezone Europe/Lisbon",
    ),
)
def cron() -> None:
    """
    List, run, pause, add and make up for periodic tasks.

    Schedulers publish their entries while they are alive; those added with `qd cron add` stand in
    Redis. What no scheduler knows, and was not added, is not shown. A name may also be the id that
    asynq's tools show.
    """


for verb in cron_change.COMMANDS:
    cron.add_command(verb)


@cron.command("ls", examples=("qd cron ls", "qd cron ls --json"))
@with_session
def ls(session: Session) -> None:
    """
    List the periodic tasks.

    NEXT is computed now. LAST is the last tick that was enqueued, LATE how long after its time.
    SOURCE says where it is declared: in code, in the config, at runtime (`qd cron add`), or by a
    scheduler of asynq, which tells neither name nor policy. An entry that several schedulers know
    fires once.
    """
    columns: list[Column[PeriodicView]] = [
        Column("NAME", lambda one: one.name),
        Column("STATE", lambda one: one.state),
        Column("SPEC", lambda one: one.spec),
        Column("TYPE", lambda one: one.type),
        Column("QUEUE", lambda one: one.queue),
        Column("NEXT", lambda one: one.next),
        Column("LAST", lambda one: one.prev),
        Column("LATE", _late),
        Column("POLICY", _policy, shrinks=True),
        Column("SOURCE", lambda one: one.source),
        Column("OPTIONS", lambda one: " ".join(one.options), shrinks=True),
    ]
    session.out.rows(
        "qd.cron.ls/2",
        "entries",
        session.inspector.periodic.all(session.settings.queue_prefix),
        columns,
        lambda one: one.as_dict(),
        empty=_NOBODY,
    )


def _late(one: PeriodicView) -> Cell:
    return None if one.late is None else timedelta(seconds=max(one.late, 0.0))


def _policy(one: PeriodicView) -> str:
    """Missed ticks and overlapping runs always, all else where it is not as usual."""
    declared = one.declared
    if declared is None:
        return ""
    words = [f"missed {declared.missed}", f"overlap {declared.overlap}"]
    if declared.jitter:
        words.append(f"jitter {format_duration(declared.jitter)}")
    if declared.timezone not in (None, "UTC"):
        words.append(f"{declared.timezone}")
    if declared.dst != "debian":
        words.append(f"dst {declared.dst}")
    words += [f"from {iso(declared.start)}"] if declared.start else []
    words += [f"until {iso(declared.end)}"] if declared.end else []
    return ", ".join(words)


class _Due(NamedTuple):
    """One line of the calendar; `due` is False where a clock change swallows a time."""

    at: datetime
    local: str
    view: PeriodicView
    due: bool
    note: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "at": iso(self.at),
            "local": self.local,
            "id": self.view.id,
            "name": self.view.name,
            "spec": self.view.spec,
            "type": self.view.type,
            "due": self.due,
            "note": self.note,
        }


@cron.command(
    "next",
    examples=(
        "qd cron next",
        "qd cron next nightly-report --count 5",
        "qd cron next --days 7",
    ),
)
@click.argument("name", metavar="[NAME]", required=False, shell_complete=candidates.entries)
@click.option("--count", type=click.IntRange(1, _MANY), help="Of each; 3, or 1000 with --days.")
@click.option("--days", type=click.IntRange(1, 366), help="All of the next days.")
@with_session
def next_(session: Session, name: str | None, count: int | None, days: int | None) -> None:
    """
    Show when periodic tasks are due next.

    The times are counted from the specs, so they hold as long as a scheduler is alive; what is
    paused is left out. LOCAL is the time in the zone of the entry. NOTE marks what a change of the
    clock does: times that do not exist, and times that come twice.
    """
    most = count or (_FEW if days is None else _MANY)
    lines: list[_Due] = []
    for view in _views(session, name):
        lines += _calendar(session, view, most, days)
    columns: list[Column[_Due]] = [
        Column("AT", lambda one: iso(one.at)),
        Column("WHEN", lambda one: one.at),
        Column("LOCAL", lambda one: one.local),
        Column("NAME", lambda one: one.view.name),
        Column("SPEC", lambda one: one.view.spec),
        Column("TYPE", lambda one: one.view.type),
        Column("NOTE", lambda one: one.note),
    ]
    session.out.rows(
        "qd.cron.next/2",
        "times",
        sorted(lines, key=lambda one: (one.at, one.view.name)),
        columns,
        lambda one: one.as_dict(),
        empty=_NOBODY if days is None else f"Nothing is due in the next {days} days.",
    )


def _calendar(session: Session, view: PeriodicView, most: int, days: int | None) -> list[_Due]:
    from zoneinfo import ZoneInfo

    from qd.policy.cron_marks import marks

    try:
        schedule = _schedule(view)
    except QdError as error:
        session.out.say(f"{view.name}: {error}")
        return []
    now = session.out.now
    end = None if days is None else now + timedelta(days=days)
    times: list[datetime] = []
    at = view.next
    while at is not None and (end is None or at <= end):
        if len(times) == most:
            if days is not None:
                session.out.say(f"{view.name}: only the first {most} times are shown.")
            break
        times.append(at)
        at = schedule.next(at)
    if not times:
        return []
    found = {one.at: one for one in marks(schedule, now, end or times[-1])}
    zone = ZoneInfo(schedule.timezone)
    lines = []
    for at in sorted({*times, *(one.at for one in found.values() if not one.due)}):
        local = f"{at.astimezone(zone):%a %d %b %H:%M:%S %z}"
        mark = found.get(at)
        due = mark is None or mark.due
        lines.append(_Due(at, local, view, due, "" if mark is None else mark.note))
    return lines


def _schedule(view: PeriodicView) -> Schedule:
    from qd.policy.cron import parse

    # asynq counts `@every` from the last time, and follows the clock.
    return parse(view.spec, dst="asynq") if view.declared is None else view.declared.schedule("UTC")


@cron.command("history", examples=("qd cron history nightly-report --limit 100",))
@click.argument("name", metavar="NAME", shell_complete=candidates.entries)
@click.option("--limit", type=click.IntRange(1, 1000), default=30, show_default=True)
@with_session
def history(session: Session, name: str, limit: int) -> None:
    """
    Show when a periodic task was enqueued, the latest first.

    Redis keeps the last 1,000 times. They can be shown even if no scheduler knows the entry now.
    """
    from qd.protocol.ops.cron import entry_id

    try:
        known = session.inspector.periodic.find(name, session.settings.queue_prefix).id
    except NotFound:
        known = None
    # By name, or by the id that asynq's tools show.
    ids = [known] if known else [entry_id(session.settings.queue_prefix, name), name]
    events = next((some for one in ids if (some := _events(session, one, limit))), [])
    if not events and known is None:
        session.inspector.periodic.find(name, session.settings.queue_prefix)
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
        more={"id": known or name},
    )


def _events(session: Session, entry: str, limit: int) -> list[EventView]:
    return session.inspector.schedulers.events(entry, limit)


def _views(session: Session, name: str | None) -> list[PeriodicView]:
    periodic, prefix = session.inspector.periodic, session.settings.queue_prefix
    return periodic.all(prefix) if name is None else [periodic.find(name, prefix)]
