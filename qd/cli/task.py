"""`qd task`: look at tasks in any state, and intervene."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from qd.cli import candidates
from qd.cli.bulk import Bulk, bulk_options, collect, finish
from qd.cli.flowtext import in_flow
from qd.cli.frame import Group
from qd.cli.outcome import act_on_each
from qd.cli.render import Cell, Column, plural
from qd.cli.selection import Filter, filter_options, find
from qd.cli.session import Session, with_session
from qd.cli.tasktext import content, first_line, since_when, state_of
from qd.cli.types import DURATION
from qd.errors import UsageError, WrongState

if TYPE_CHECKING:
    from qd.inspector.views import TaskView
    from qd.protocol.state import TaskState

STATES = ("active", "pending", "scheduled", "retry", "archived", "completed", "aggregating")
SORTS = ("since", "-since", "type", "-type", "id", "-id", "error", "-error")
_RUNNABLE = ("scheduled", "retry", "archived", "completed", "aggregating")
_ARCHIVABLE = ("pending", "scheduled", "retry", "completed", "aggregating")
_DONE = ("active", "pending", "scheduled", "retry")
_DELETABLE = ("pending", "scheduled", "retry", "archived", "completed", "aggregating")


@click.command(
    "task",
    cls=Group,
    short_help="List, explain, cancel, end, run, archive or delete tasks.",
    examples=(
        "qd task ls --queue default --state retry",
        "qd task why 0197c0de",
        "qd task run --all --state scheduled --type email:send",
    ),
)
def task() -> None:
    """
    List, explain, cancel, end, run, archive or delete tasks.

    Tasks are named by their ids; of ids that qd has made the first eight characters will do. If
    several queues have a task with the same id, name the queue with --queue as well.
    """


def _progress(view: TaskView) -> str | None:
    return None if view.progress is None else str(view.progress)


def _views() -> list[Column[TaskView]]:
    return [
        Column("ID", lambda view: view.id, names=True),
        Column("TYPE", lambda view: view.type),
        Column("QUEUE", lambda view: view.queue),
        Column("STATE", state_of),
        Column("RETRIES", lambda view: f"{view.retried}/{view.max_retry}"),
        Column("WHEN", lambda view: view.next_at or since_when(view)),
        Column("PROGRESS", _progress, shrinks=True),
        Column("PAYLOAD", lambda view: content(view.payload), shrinks=True),
        Column("ERROR", lambda view: first_line(view.error), shrinks=True),
    ]


@task.command(
    "ls",
    examples=(
        "qd task ls",
        "qd task ls --queue default --state retry --error Timeout",
        "qd task ls --state archived --since yesterday --payload user.id=42 --json",
    ),
)
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="Repeatable.")
@click.option(
    "--group",
    metavar="NAME",
    shell_complete=candidates.groups,
    help="Only aggregating tasks of this group.",
)
@click.option("--sort", type=click.Choice(SORTS), help="Order of what is shown; - is descending.")
@click.option("--cursor", metavar="WORD", help="Go on where an earlier listing has stopped.")
@click.option("--count", is_flag=True, help="Only count them, by queue, state and type.")
@filter_options
@with_session
def ls(
    session: Session,
    states: tuple[str, ...],
    group: str | None,
    sort: str | None,
    cursor: str | None,
    count: bool,
    chosen: Filter,
) -> None:
    """
    List tasks, of all queues and states unless told otherwise.

    WHEN is when a task is due, or since when it is in its state. At most 30 tasks are shown; take
    more with --limit, or go on with --cursor. All tasks as lines of JSON, however many: `-o jsonl
    --limit 0`. With --sort all that match are looked at first.
    """
    from dataclasses import replace

    from qd.cli.listing import count_tasks, list_tasks
    from qd.protocol.state import TaskState

    if group is not None:
        if states and states != ("aggregating",):
            raise UsageError("Only aggregating tasks are in a group.", hint="Leave --state out.")
        states = ("aggregating",)
    wanted = replace(chosen, group=group)
    kinds = [TaskState(state) for state in states or STATES]
    if count:
        count_tasks(session, kinds, wanted)
    else:
        list_tasks(session, kinds, wanted, _views(), sort=sort, token=cursor)


@task.command(
    "show",
    examples=(
        "qd task show 0197c0de",
        "qd task show 0197c0de -q low --json",
        "qd task show 0197c0de --timeline",
    ),
)
@click.argument("task_id", metavar="ID", shell_complete=candidates.task_ids(*STATES))
@click.option(
    "-q",
    "--queue",
    metavar="NAME",
    shell_complete=candidates.queues,
    help="The queue it is in; else all are searched.",
)
@click.option("--timeline", is_flag=True, help="Show the way it went, if it is gone as well.")
@with_session
def show(session: Session, task_id: str, queue: str | None, timeline: bool) -> None:
    """
    Show everything about one task.

    Payload and result are shown as text if they are text. With --json they are decoded where they
    are JSON, and encoded as base64 where they are not text.

    --timeline shows instead each transition of the task that was noted: its latest 100 at most, for
    as long as `timeline.keep` says. What was moved by others, as by Go servers, is shown as unseen.
    """
    if timeline:
        from qd.cli.events import show_timeline

        show_timeline(session, task_id, _named(queue))
        return
    show_task(session, find(session, task_id, _named(queue)), "qd.task.show/1")


@task.command("why", examples=("qd task why 0197c0de", "qd task why 0197c0de --stack"))
@click.argument("task_id", metavar="ID", shell_complete=candidates.task_ids(*STATES))
@click.option(
    "-q",
    "--queue",
    metavar="NAME",
    shell_complete=candidates.queues,
    help="The queue it is in; else all are searched.",
)
@click.option("--stack", is_flag=True, help="Ask the worker that runs it where its handler is.")
@with_session
def why(session: Session, task_id: str, queue: str | None, stack: bool) -> None:
    """
    Say why a task is not running, or where it runs and what it is doing.

    Its time has not come, its queue is paused, nobody takes the queue or knows the type, all slots
    are busy, so many tasks are ahead; where it runs, and since when; why it is dead. Nothing is
    changed.
    """
    from qd.cli.why import show_why

    show_why(session, find(session, task_id, _named(queue)), stack=stack)


def _polling(view: TaskView) -> str | None:
    polling = view.polling
    if polling is None:
        return None
    since = datetime.fromtimestamp(polling.since, UTC)
    return f"{plural(polling.looks, 'look')} since {since:%F %T}Z"


def show_task(session: Session, view: TaskView, schema: str) -> None:
    """Show all that is known about a task; what does not apply to it is left out."""
    place = session.inspector.place_in_flow(view)
    facts: dict[str, Cell] = {
        "id": view.id,
        "type": view.type,
        "queue": view.queue,
        "state": state_of(view),
        "payload": content(view.payload),
        "retries": f"{view.retried} of {view.max_retry} used",
        "due": view.next_at,
        "waiting since": view.pending_since,
        "archived": view.archived_at,
        "completed": view.completed_at,
        "kept until": view.expires_at,
        "last failed": view.last_failed_at,
        "error": view.error,
        "worker deaths": view.deaths or None,
        "last death": view.cause,
        "waits for": " ".join(view.waits) or None,
        "runs on": _place(session, view),
        "owner": view.owner,
        "lease until": view.lease_until,
        "timeout": f"{view.timeout}s" if view.timeout else None,
        "deadline": view.deadline,
        "retention": f"{view.retention}s" if view.retention else None,
        "group": view.group,
        "unique lock": view.unique_key,
        **{f"header {name}": text for name, text in view.headers},
        **({} if place is None else in_flow(place)),
        "polling": _polling(view),
        "progress": _progress(view),
        "result": None if view.result is None else content(view.result),
    }
    present = {name: value for name, value in facts.items() if value not in (None, "")}
    document = {**view.as_dict(), "flow": None if place is None else place.as_dict()}
    session.out.one(schema, "task", document, present)


def _place(session: Session, view: TaskView) -> str | None:
    """Host and pid of the worker process that has a task, as `qd server show` takes them."""
    if not view.owner:
        return None
    owners = (one for one in session.inspector.servers.list() if one.id == view.owner)
    return next((f"{one.host}:{one.pid}" for one in owners), None)


@task.command("cancel", examples=("qd task cancel 0197c0de", "qd task cancel 0197c0de 0197c0df"))
@click.argument(
    "ids", nargs=-1, required=True, metavar="ID...", shell_complete=candidates.task_ids("active")
)
@click.option(
    "-q",
    "--queue",
    metavar="NAME",
    shell_complete=candidates.queues,
    help="The queue they are in; else all are searched.",
)
@with_session
def cancel(session: Session, ids: tuple[str, ...], queue: str | None) -> None:
    """
    Ask the workers that run tasks to stop them.

    A cancelled task has failed: it is retried if it has retries left. This only asks; the task may
    end by itself first.
    """

    def act(task_id: str) -> tuple[Mapping[str, Any], str]:
        view = find(session, task_id, _named(queue))
        if view.state != "active":
            raise WrongState(
                f'Task "{task_id}" in queue {view.queue} is {view.state}, not running.',
                hint="Delete it with `qd task rm`, or keep it with `qd task archive`.",
            )
        heard = session.inspector.tasks.cancel(view.id)
        return (
            {"id": view.id, "queue": view.queue, "heard_by": heard},
            f"{view.id}: its worker was asked to stop it"
            if heard
            else f"{view.id}: nobody listens",
        )

    act_on_each(session, "qd.task.cancel/1", ids, act)


@task.command(
    "done",
    examples=(
        "qd task done 0197c0de",
        """qd task done 0197c0de '{"url": "https://example.com/7.mp4"}'""",
    ),
)
@click.argument("task_id", metavar="ID", shell_complete=candidates.task_ids(*_DONE))
@click.argument("result", metavar="[RESULT]", required=False)
@click.option(
    "-q",
    "--queue",
    metavar="NAME",
    shell_complete=candidates.queues,
    help="The queue it is in; else all are searched.",
)
@with_session
def done(session: Session, task_id: str, result: str | None, queue: str | None) -> None:
    """
    End a task as done, with a result.

    For polls of which one hears before their next look. A task that waits has succeeded then, of
    whatever type it is. One that runs is not stopped: if it is a poll, it ends with this look,
    whatever the look says. RESULT is JSON, else it is taken as text; it is kept as long as the
    retention says.
    """
    from qd import jsoncodec
    from qd.cli.payload import is_json

    view = find(session, task_id, _named(queue))
    given = None if result is None else result.encode()
    if given is not None and not is_json(given):
        given = jsoncodec.dumps(result)
    ended = session.inspector.tasks.done(view.queue, view.id, given)
    session.out.result(
        "qd.task.done/1",
        {"id": view.id, "queue": view.queue, "ended": ended},
        f"{view.id} has ended as done"
        if ended
        else f"{view.id} runs; if it is a poll, it ends as done",
        view.id,
    )


def _states_option(allowed: tuple[str, ...]) -> Callable[..., Any]:
    return click.option(
        "--state", type=click.Choice(allowed), help="With --all: only tasks in this state."
    )


@task.command(
    "run", examples=("qd task run 0197c0de", "qd task run --all --state scheduled -q low --dry-run")
)
@click.argument("ids", nargs=-1, metavar="[ID...]", shell_complete=candidates.task_ids(*_RUNNABLE))
@_states_option(_RUNNABLE)
@bulk_options
@with_session
def run(session: Session, ids: tuple[str, ...], state: str | None, bulk: Bulk) -> None:
    """
    Let tasks that wait run now.

    They become the last in the line of their queue. Dead and completed tasks run again; retries
    that are used up stay used up, as in asynq (`qd dlq requeue` gives them back).
    """
    _many(session, "run", "Run", ids, state, _RUNNABLE, bulk)


@task.command(
    "archive",
    examples=("qd task archive 0197c0de", "qd task archive --all --state retry --type email:send"),
)
@click.argument(
    "ids", nargs=-1, metavar="[ID...]", shell_complete=candidates.task_ids(*_ARCHIVABLE)
)
@_states_option(_ARCHIVABLE)
@bulk_options
@with_session
def archive(session: Session, ids: tuple[str, ...], state: str | None, bulk: Bulk) -> None:
    """
    Move tasks to the dead letters, so that they do not run.

    `qd dlq requeue` brings them back. The archive of a queue keeps the latest 10,000 tasks.
    """
    _many(session, "archive", "Archive", ids, state, _ARCHIVABLE, bulk)


@task.command(
    "rm", examples=("qd task rm 0197c0de -y", "qd task rm --all --state completed --older 7d")
)
@click.argument("ids", nargs=-1, metavar="[ID...]", shell_complete=candidates.task_ids(*_DELETABLE))
@_states_option(_DELETABLE)
@bulk_options
@with_session
def rm(session: Session, ids: tuple[str, ...], state: str | None, bulk: Bulk) -> None:
    """
    Delete tasks that are not running.

    Their results and uniqueness locks go with them. Nothing of it can be brought back.
    """
    _many(session, "rm", "Delete", ids, state, _DELETABLE, bulk)


@task.command("wait", examples=("qd task wait 0197c0de", "qd task wait 0197c0de --timeout 5m"))
@click.argument("task_id", metavar="ID", shell_complete=candidates.task_ids(*STATES))
@click.option(
    "-q",
    "--queue",
    metavar="NAME",
    shell_complete=candidates.queues,
    help="The queue it is in; else all are searched.",
)
@click.option("--timeout", type=DURATION, default="60s", show_default=True)
@with_session
def wait(session: Session, task_id: str, queue: str | None, timeout: float) -> None:
    """
    Wait until a task has ended, and say how.

    Exit code 0: it has succeeded, or is gone. 1: it was archived. 124: it has not ended in time.
    A task without retention is gone when it has succeeded.
    """
    from qd.cli.wait import wait_for

    view = find(session, task_id, _named(queue))
    wait_for(session, view.queue, view.id, timeout)


def _many(
    session: Session,
    verb: str,
    title: str,
    ids: tuple[str, ...],
    state: str | None,
    allowed: tuple[str, ...],
    bulk: Bulk,
) -> None:
    from qd.protocol.state import TaskState

    if bulk.everything and state is None:
        raise UsageError("--all needs --state", hint=f"The states are {', '.join(allowed)}.")
    states = [TaskState(one) for one in ((state,) if state else allowed)]
    tasks = session.inspector.tasks

    def act(queue: str, where: TaskState, some: list[str]) -> int:
        if verb == "run":
            return tasks.run_many(queue, some, state=where, keep_retries=True)
        if verb == "archive":
            return tasks.archive_many(queue, some, state=where)
        return tasks.delete_many(queue, some, state=where)

    found = collect(session, ids, states, bulk)
    # To run or archive named tasks destroys nothing.
    ask = verb == "rm" or bulk.everything
    finish(session, f"qd.task.{verb}/1", title, found, bulk, act, ask=ask)


def _named(queue: str | None) -> tuple[str, ...]:
    return () if queue is None else (queue,)
