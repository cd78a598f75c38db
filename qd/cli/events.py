"""`qd events` and `qd task show --timeline`: the transitions of tasks, where a timeline is kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

from qd.cli.frame import Command
from qd.cli.render import Column, exact
from qd.cli.session import Session, with_session
from qd.cli.tasktext import first_line
from qd.cli.types import PAST
from qd.errors import TaskNotFound

if TYPE_CHECKING:
    from qd.errors import BrokerUnavailable
    from qd.inspector.timeline import Choice, Transition

STATES = ("active", "pending", "scheduled", "retry", "archived", "completed", "aggregating", "gone")

_PAGE = 30
_WAIT = 1.0
"""Seconds after which it is looked whether there are new queues."""

_NONE = (
    "No transitions are known. They are noted by programs whose settings have a timeline.keep, "
    "and kept that long."
)


@click.command(
    "events",
    cls=Command,
    short_help="Show how tasks were moved, or follow it, if a timeline is kept.",
    examples=(
        "qd events --queue default --state archived --since 10m",
        "qd events --trace 4bf92f3577b34da6a3ce929d0e0e4736",
        "qd events --follow -o jsonl",
    ),
)
@click.option("-q", "--queue", "queues", metavar="NAME", multiple=True, help="Repeatable.")
@click.option(
    "--type", "types", metavar="TYPE", multiple=True, help="Of this task type; repeatable."
)
@click.option(
    "--state", "states", multiple=True, type=click.Choice(STATES), help="To this state; repeatable."
)
@click.option("--task", "task_id", metavar="ID", help="Of this task.")
@click.option("--trace", "trace_id", metavar="ID", help="Of all tasks of this trace.")
@click.option("--since", type=PAST, help="Not older than this, as in 10m.")
@click.option(
    "--limit", type=click.IntRange(min=0), metavar="N", help="So many, the latest; 0 for all."
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@with_session
def events(
    session: Session,
    queues: tuple[str, ...],
    types: tuple[str, ...],
    states: tuple[str, ...],
    task_id: str | None,
    trace_id: str | None,
    since: datetime | None,
    limit: int | None,
    follow: bool,
) -> None:
    """
    Show transitions of tasks: when, from where to where, by which step and process, and why.

    They are noted by the step that makes them, if the program has a `timeline.keep` in its settings:
    set it for all that enqueue, run and move tasks. What Go servers do is not noted.

    At most 30 are shown, the latest last. --follow shows those that come, after those --since asks
    for, and ends after --limit of them. If Redis goes away, it waits, and shows what was missed.
    """
    from qd.inspector.timeline import Choice

    choice = Choice(frozenset(types), frozenset(states), task_id or "", trace_id or "", since)
    if follow:
        _follow(session, queues, choice, limit)
        return
    limit = _PAGE if limit is None else limit
    found = session.inspector.timeline.recent(session.chosen(queues), choice, limit=limit or None)
    session.out.rows(
        "qd.events/1", "events", found, _columns(), lambda one: one.as_dict(), empty=_NONE
    )


def show_timeline(session: Session, task_id: str, queues: Sequence[str]) -> None:
    """
    Show the transitions of one task.

    Raises:
        TaskNotFound: Neither they nor the task are known.
    """
    found = session.inspector.timeline.of_task(task_id, session.chosen(queues))
    if not found:
        from qd.cli.selection import find

        try:
            find(session, task_id, queues)
        except TaskNotFound as error:
            raise TaskNotFound(str(error), hint=_NONE) from error
    session.out.rows(
        "qd.task.timeline/1",
        "timeline",
        found,
        _steps(),
        lambda one: one.as_dict(),
        empty=_NONE,
        more={"id": task_id},
    )


def _follow(session: Session, queues: tuple[str, ...], choice: Choice, limit: int | None) -> None:
    left = limit or None
    named = session.chosen(queues) if queues else None
    prefix = session.stored("")
    wait = min(_WAIT, session.settings.redis.call_timeout / 2)
    away = _Away(session)
    try:
        for batch in session.inspector.timeline.follow(named, choice, wait=wait, on_away=away.lost):
            away.answered()
            some = [one for one in batch if one.queue.startswith(prefix)]
            _show(session, some[:left])
            if left is not None:
                left -= len(some)
                if left <= 0:
                    return
    except KeyboardInterrupt:
        # The usual end of what goes on for ever.
        return


class _Away:
    """Says once that Redis is away, and once that it is back."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._is_away = False

    def lost(self, error: BrokerUnavailable) -> None:
        if not self._is_away:
            self._session.out.say(f"qd: {error} Waiting for it.")
        self._is_away = True

    def answered(self) -> None:
        if self._is_away:
            self._session.out.say("qd: Redis answers again.")
        self._is_away = False


def _show(session: Session, some: Sequence[Transition]) -> None:
    """Show what has come. For people as lines: a table would have to know those that come."""
    if session.out.form != "table":
        if some:
            session.out.rows(
                "qd.events/1", "events", some, _columns(), lambda one: one.as_dict(), empty=""
            )
        return
    for one in some:
        click.echo("  ".join(exact(column.value(one)) or "-" for column in _columns()))


def _columns() -> list[Column[Transition]]:
    when, *rest = _steps()
    return [
        when,
        Column("QUEUE", lambda one: one.queue),
        Column("TASK", lambda one: one.task_id, names=True),
        Column("TYPE", lambda one: one.type),
        *rest,
    ]


def _who(one: Transition) -> str | None:
    if not one.host:
        return None
    return f"{one.user}@{one.host}:{one.pid}" if one.user else f"{one.host}:{one.pid}"


def _steps() -> list[Column[Transition]]:
    """What there is to say if it is known which task is meant."""
    return [
        # To the millisecond in all forms: who looks at a timeline wants to compare.
        Column("TIME", lambda one: one.at and one.at.isoformat(timespec="milliseconds")[:-6] + "Z"),
        Column("FROM", lambda one: one.before or "new"),
        Column("TO", lambda one: one.after or "gone"),
        Column("STEP", lambda one: one.step),
        Column("ATTEMPT", lambda one: one.attempt),
        Column("BY", _who),
        Column("NEXT", lambda one: one.next_at),
        Column("REASON", lambda one: first_line(one.reason), shrinks=True),
    ]
