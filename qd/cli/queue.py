"""`qd queue`: look at queues, pause and resume them, empty and remove them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from qd.cli import candidates, render
from qd.cli.ask import SAMPLE, confirm
from qd.cli.frame import Group
from qd.cli.outcome import act_on_each
from qd.cli.render import Cell, Column, plural
from qd.cli.session import Session, person, with_session
from qd.errors import WrongState

if TYPE_CHECKING:
    from qd.inspector.views import DayView, QueueView
    from qd.protocol.state import TaskState

# Running tasks cannot be taken from their workers.
PURGEABLE = ("pending", "scheduled", "retry", "archived", "completed", "aggregating")


@click.command(
    "queue",
    cls=Group,
    short_help="List, pause, resume, purge or remove queues.",
    examples=(
        "qd queue ls",
        "qd queue pause low",
        "qd queue purge low --state archived",
    ),
)
def queue() -> None:
    """
    List, pause, resume, purge or remove queues.

    A queue appears when the first task is enqueued to it. With `queue_prefix` set, names are typed
    without the prefix and shown with it.
    """


def _state(view: QueueView) -> str:
    return "paused" if view.paused else "running"


def columns() -> list[Column[QueueView]]:
    """The columns of every table of queues."""
    return [
        Column("QUEUE", lambda view: view.name),
        Column("STATE", _state),
        Column("PENDING", lambda view: view.pending, short="PEND"),
        Column("ACTIVE", lambda view: view.active, short="ACT"),
        Column("SCHEDULED", lambda view: view.scheduled, short="SCHED"),
        Column("RETRY", lambda view: view.retry),
        Column("ARCHIVED", lambda view: view.archived, short="DEAD"),
        Column("COMPLETED", lambda view: view.completed, short="DONE"),
        Column("GROUPED", lambda view: view.aggregating, short="GROUP"),
        Column("LATENCY", _latency, short="WAIT"),
        Column("TODAY", lambda view: view.processed),
        Column("FAILED", lambda view: view.failed, short="FAIL"),
    ]


def _latency(view: QueueView) -> Cell:
    return timedelta(seconds=view.latency) if view.latency else None


@queue.command(
    "ls", examples=("qd queue ls", "qd queue ls --json", "qd queue ls -o plain | cut -f1,3")
)
@with_session
def ls(session: Session) -> None:
    """
    List all queues with the number of tasks in each state.

    LATENCY is how long the next task has been waiting. TODAY and FAILED count the runs of the
    present UTC day; failed runs are part of both.
    """
    names = set(session.queues())
    session.out.rows(
        "qd.queue.ls/1",
        "queues",
        [view for view in session.inspector.queues.all() if view.name in names],
        columns(),
        lambda view: view.as_dict(),
        empty="There are no queues yet. The first `qd enqueue` makes one.",
    )


@queue.command("show", examples=("qd queue show default", "qd queue show default --json"))
@click.argument("name", shell_complete=candidates.queues)
@with_session
def show(session: Session, name: str) -> None:
    """
    Show everything about one queue.

    Its sizes, its counters, how long the next task has been waiting, and an estimate of the
    memory it takes in Redis.
    """
    (stored,) = session.chosen([name])
    view = session.inspector.queues.info(stored, memory=True)
    facts: dict[str, Cell] = {
        "queue": view.name,
        "state": _state(view),
        "paused since": view.paused_at,
        "paused by": view.paused_by or None,
        "size": view.size,
        "pending": view.pending,
        "active": view.active,
        "orphaned": view.orphaned,
        "scheduled": view.scheduled,
        "retry": view.retry,
        "archived": view.archived,
        "completed": view.completed,
        "grouped": view.aggregating,
        "groups": view.groups,
        "latency": _latency(view),
        "pressure": view.pressure or None,
        "refused ever": view.refused,
        "dropped ever": view.dropped,
        "processed today": view.processed,
        "failed today": view.failed,
        "processed ever": view.processed_total,
        "failed ever": view.failed_total,
        "memory": None if view.memory is None else render.size(view.memory),
    }
    session.out.one("qd.queue.show/1", "queue", view.as_dict(), facts)
    for problem in view.problems:
        session.out.say(f"problem: {problem}")


@queue.command("history", examples=("qd queue history default", "qd queue history low --days 30"))
@click.argument("name", shell_complete=candidates.queues)
@click.option("--days", type=click.IntRange(1, 90), default=10, show_default=True)
@with_session
def history(session: Session, name: str, days: int) -> None:
    """
    Show how many tasks a queue processed on each of the last days.

    Days are those of UTC, today first. Redis keeps 90 of them.
    """
    (stored,) = session.chosen([name])
    found = session.inspector.queues.history(stored, days)
    shown: list[Column[DayView]] = [
        Column("DAY", lambda view: view.day.isoformat()),
        Column("PROCESSED", lambda view: view.processed),
        Column("FAILED", lambda view: view.failed),
        Column("ERRORS", _percent),
    ]
    session.out.rows(
        "qd.queue.history/1",
        "days",
        found,
        shown,
        lambda view: view.as_dict(),
        empty="",
        more={"queue": stored},
    )


def _percent(view: DayView) -> Cell:
    return None if view.error_rate is None else f"{view.error_rate:.1%}"


@queue.command("pause", examples=("qd queue pause low", "qd queue pause low default"))
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=candidates.queues
)
@with_session
def pause(session: Session, names: tuple[str, ...]) -> None:
    """
    Let workers take no more tasks from queues.

    Tasks that are running go on, and tasks can still be enqueued. Pausing a paused queue changes
    nothing.
    """
    _switch(session, names, pause=True)


@queue.command("resume", examples=("qd queue resume low", "qd queue resume low default"))
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=candidates.queues
)
@with_session
def resume(session: Session, names: tuple[str, ...]) -> None:
    """
    Let workers take tasks from paused queues again.

    Resuming a queue that is not paused changes nothing.
    """
    _switch(session, names, pause=False)


def _switch(session: Session, names: tuple[str, ...], *, pause: bool) -> None:
    queues = session.inspector.queues
    verb = "pause" if pause else "resume"

    def act(name: str) -> tuple[dict[str, object], str]:
        (stored,) = session.chosen([name])
        changed = True
        try:
            if pause:
                queues.pause(stored, by=_who())
            else:
                queues.resume(stored)
        except WrongState:
            changed = False
        done = f"is {'now' if changed else 'already'} {'paused' if pause else 'running'}"
        return {"queue": stored, "paused": pause, "changed": changed}, f"{stored} {done}"

    act_on_each(session, f"qd.queue.{verb}/1", names, act)


def _who() -> str:
    """The person at this terminal, for others to see."""
    import socket

    return f"{person()}@{socket.gethostname()}"


@queue.command(
    "purge",
    examples=(
        "qd queue purge low",
        "qd queue purge low --state archived --state completed",
        "qd queue purge low -y",
    ),
)
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=candidates.queues
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(PURGEABLE),
    help="Only tasks in this state; may be repeated. Else all but the running ones.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@with_session
def purge(session: Session, names: tuple[str, ...], states: tuple[str, ...], yes: bool) -> None:
    """
    Delete the tasks of queues; running ones stay.

    Their uniqueness locks and results go with them. Nothing of it can be brought back. The queue
    itself stays, with its counters, and with its timeline, which tells that they were deleted.
    """
    from qd.protocol.state import TaskState

    chosen = [TaskState(state) for state in states or PURGEABLE]
    stored = session.chosen(names)
    tasks = session.inspector.tasks
    counts = {
        (name, state): count
        for name in stored
        for state in chosen
        if (count := tasks.count(name, state))
    }
    total = sum(counts.values())
    if not total:
        session.out.say("There is nothing to delete.")
    else:
        question = f"Delete {plural(total, 'task')} from {', '.join(stored)}?"
        confirm(question, _sample(session, list(counts)), yes=yes)

    def act(name: str) -> tuple[dict[str, object], str]:
        found = [state for state in chosen if (name, state) in counts]
        deleted = sum(session.inspector.queues.purge(name, state) for state in found)
        return (
            {"queue": name, "deleted": deleted},
            f"{plural(deleted, 'task')} deleted from {name}",
        )

    act_on_each(session, "qd.queue.purge/1", stored, act)


def _sample(session: Session, places: list[tuple[str, TaskState]]) -> list[str]:
    from qd.cli.tasktext import describe

    found: list[str] = []
    for name, state in places:
        left = SAMPLE - len(found)
        if left:
            views = session.inspector.tasks.list(name, state, limit=left)
            found += [describe(view) for view in views]
    return found


@queue.command("rm", examples=("qd queue rm old", "qd queue rm old --force -y"))
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=candidates.queues
)
@click.option("--force", is_flag=True, help="Also when tasks are waiting; they are deleted.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@with_session
def rm(session: Session, names: tuple[str, ...], force: bool, yes: bool) -> None:
    """
    Remove queues with all that belongs to them.

    Counters, history and timeline go as well. A queue that holds tasks is refused without --force, and one
    with running tasks always. A later enqueue brings the queue back.
    """
    from qd.protocol.state import TaskState

    stored = session.chosen(names)
    views = [session.inspector.queues.info(name) for name in stored]
    total = sum(view.size for view in views)
    if force and total:
        places = [(name, TaskState(state)) for name in stored for state in PURGEABLE]
        question = f"Remove {', '.join(stored)} with {plural(total, 'task')}?"
        confirm(question, _sample(session, places), yes=yes)

    def act(name: str) -> tuple[dict[str, object], str]:
        deleted = session.inspector.queues.remove(name, force=force)
        return (
            {"queue": name, "deleted": deleted},
            f"{name} removed, {plural(deleted, 'task')} deleted",
        )

    act_on_each(session, "qd.queue.rm/1", stored, act)
