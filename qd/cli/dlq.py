"""`qd dlq`: the dead letters, which are the archived tasks of every queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from qd.cli import candidates
from qd.cli.ask import SAMPLE, confirm
from qd.cli.bulk import Bulk, bulk_options, collect, finish
from qd.cli.frame import Group, files
from qd.cli.outcome import act_on_each
from qd.cli.render import Column, plural
from qd.cli.selection import Filter, filter_options, find, matching
from qd.cli.session import Session, with_session
from qd.cli.tasktext import content, describe, first_line, state_of
from qd.cli.types import DURATION, PERCENT
from qd.errors import UsageError, WrongState

if TYPE_CHECKING:
    from qd.inspector.views import TaskView
    from qd.protocol.state import TaskState


@click.command(
    "dlq",
    cls=Group,
    short_help="Look at dead-letter tasks, and bring them back.",
    examples=(
        "qd dlq groups",
        "qd dlq requeue --all --type email:send --error Timeout --dry-run",
        "qd dlq export dead.jsonl --older 7d",
    ),
)
def dlq() -> None:
    """
    Look at dead-letter tasks, and bring them back.

    A task whose retries are used up is archived: kept, with its error, in the dead letters of its
    queue. So is poison: a task while running which worker processes died. Each queue keeps its
    latest 10,000 dead tasks, for 90 days.
    """


def columns() -> list[Column[TaskView]]:
    """The columns of every table of dead tasks."""
    return [
        Column("ID", lambda view: view.id, names=True),
        Column("TYPE", lambda view: view.type),
        Column("QUEUE", lambda view: view.queue),
        Column("STATE", state_of),
        Column("DIED", lambda view: view.archived_at),
        Column("RETRIES", lambda view: f"{view.retried}/{view.max_retry}"),
        Column("ERROR", lambda view: first_line(view.error or view.cause), shrinks=True),
        Column("PAYLOAD", lambda view: content(view.payload), shrinks=True),
    ]


@dlq.command(
    "ls", examples=("qd dlq ls", "qd dlq ls -q default --error Timeout", "qd dlq ls --json")
)
@filter_options
@with_session
def ls(session: Session, chosen: Filter) -> None:
    """
    List dead tasks, the oldest first.

    At most 30 are shown unless --limit says otherwise. STATE is poison where worker processes died
    while they ran the task.
    """
    from dataclasses import replace

    from qd.protocol.state import TaskState

    limit = 30 if chosen.limit is None else chosen.limit
    wanted = replace(chosen, limit=limit + 1 if limit else None)
    glances = list(matching(session, [TaskState.ARCHIVED], wanted))
    found = session.inspector.tasks.views(glances[: limit or None])
    session.out.rows(
        "qd.dlq.ls/1",
        "tasks",
        found,
        columns(),
        lambda view: view.as_dict(),
        empty="No dead tasks match.",
        more={"limit": limit, "more": len(glances) > len(found)},
    )
    if len(glances) > len(found) and not session.out.machine:
        session.out.say("There are more: take a larger --limit, or see `qd dlq groups`")


@dlq.command("groups", examples=("qd dlq groups", "qd dlq groups -q default --json"))
@filter_options
@with_session
def groups(session: Session, chosen: Filter) -> None:
    """
    Show what tasks died of: dead tasks by type and kind of error, the most frequent first.

    Errors are of one kind if they differ only in numbers and ids. HISTORY is the time from the
    first of all these deaths to the last, with a high bar where most of a kind died.
    """
    from qd.cli.deaths import DeathGroup, group_by_error
    from qd.protocol.state import TaskState

    found = group_by_error(matching(session, [TaskState.ARCHIVED], chosen))
    shown: list[Column[DeathGroup]] = [
        Column("COUNT", lambda group: group.count),
        Column("TYPE", lambda group: group.type),
        Column("EXCEPTION", lambda group: group.exception),
        Column("FIRST", lambda group: group.first),
        Column("LAST", lambda group: group.last),
        Column("HISTORY", lambda group: group.sparkline),
        Column("QUEUES", lambda group: ",".join(sorted(group.queues))),
        Column("EXAMPLE", lambda group: group.example, names=True),
        Column("ERROR", lambda group: group.error, shrinks=True),
    ]
    session.out.rows(
        "qd.dlq.groups/1",
        "groups",
        found,
        shown,
        lambda group: group.as_dict(),
        empty="No dead tasks match.",
    )


@dlq.command("show", examples=("qd dlq show 0197c0de", "qd dlq show 0197c0de -q low --json"))
@click.argument("task_id", metavar="ID", shell_complete=candidates.task_ids("archived"))
@click.option(
    "-q",
    "--queue",
    metavar="NAME",
    shell_complete=candidates.dead_queues,
    help="The queue it is in; else all are searched.",
)
@with_session
def show(session: Session, task_id: str, queue: str | None) -> None:
    """
    Show everything about one dead task, with its whole error.

    For tasks in other states see `qd task show`.
    """
    from qd.cli.task import show_task

    view = find(session, task_id, () if queue is None else (queue,))
    if view.state != "archived":
        raise WrongState(
            f'Task "{task_id}" in queue {view.queue} is {view.state}, not dead.',
            hint=f"See it with `qd task show {task_id}`.",
        )
    show_task(session, view, "qd.dlq.show/1")


@dlq.command(
    "requeue",
    examples=(
        "qd dlq requeue 0197c0de --edit",
        "qd dlq requeue --all --error Timeout --since yesterday --older today --rate 50/s",
        "qd dlq requeue --all --canary 10 --rate 100/s --abort-if-failed 20% -y",
    ),
)
@click.argument("ids", nargs=-1, metavar="[ID...]", shell_complete=candidates.task_ids("archived"))
@click.option("--keep-retries", is_flag=True, help="Leave the used-up retries used up.")
@click.option(
    "--to", metavar="QUEUE", shell_complete=candidates.queues, help="Let them run in another queue."
)
@click.option("--edit", is_flag=True, help="Change the payload of each named task in $EDITOR.")
@click.option(
    "--canary", type=click.IntRange(min=1), metavar="N", help="First so many; wait for them."
)
@click.option(
    "--canary-wait",
    type=DURATION,
    default="60s",
    show_default=True,
    help="How long to wait for the canaries to end.",
)
@click.option(
    "--abort-if-failed",
    "share",
    type=PERCENT,
    help="Stop when more than this fail again, as in 20%. With --canary alone: 0%.",
)
@bulk_options
@with_session
def requeue(
    session: Session,
    ids: tuple[str, ...],
    keep_retries: bool,
    to: str | None,
    edit: bool,
    canary: int | None,
    canary_wait: float,
    share: float | None,
    bulk: Bulk,
) -> None:
    """
    Bring dead tasks back: they run again, with all their retries.

    Name tasks by their ids, or take --all with filters; without --queue all queues are meant.
    Deaths of workers are forgotten, so poison gets its chances again as well. Ctrl-C stops between
    two steps. A task that is retried again counts as failed for --canary and --abort-if-failed, one
    that is gone as successful; the latter looks twice a second, so give a --rate.
    """
    from qd.cli.requeue import requeue_tasks
    from qd.protocol.state import TaskState

    if edit and bulk.everything:
        raise UsageError("--edit is for tasks that are named by their ids")
    found = collect(session, ids, [TaskState.ARCHIVED], bulk)
    guard = None
    if canary is not None or share is not None:
        from qd.cli.guard import Guard

        guard = Guard(session, canary=canary or 0, share=share or 0.0, wait=canary_wait)
    requeue_tasks(session, found, bulk, guard, keep_retries=keep_retries, to=to, edit=edit)


@dlq.command(
    "rm", examples=("qd dlq rm 0197c0de -y", "qd dlq rm --all --type email:send --older 7d")
)
@click.argument("ids", nargs=-1, metavar="[ID...]", shell_complete=candidates.task_ids("archived"))
@bulk_options
@with_session
def rm(session: Session, ids: tuple[str, ...], bulk: Bulk) -> None:
    """
    Delete dead tasks.

    Nothing of them can be brought back; `qd dlq export` keeps a copy.
    """
    from qd.protocol.state import TaskState

    def act(queue: str, state: TaskState, some: list[str]) -> int:
        return session.inspector.tasks.delete_many(queue, some, state=state)

    found = collect(session, ids, [TaskState.ARCHIVED], bulk)
    finish(session, "qd.dlq.rm/1", "Delete", found, bulk, act, ask=True)


@dlq.command("purge", examples=("qd dlq purge low", "qd dlq purge low default -y"))
@click.argument(
    "names", nargs=-1, required=True, metavar="QUEUE...", shell_complete=candidates.dead_queues
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@with_session
def purge(session: Session, names: tuple[str, ...], yes: bool) -> None:
    """
    Delete all dead tasks of queues.

    Nothing of them can be brought back; `qd dlq export` keeps a copy.
    """
    from qd.protocol.state import TaskState

    stored = session.chosen(names)
    tasks = session.inspector.tasks
    total = sum(tasks.count(name, TaskState.ARCHIVED) for name in stored)
    if total:
        first = matching(session, [TaskState.ARCHIVED], Filter(names, limit=SAMPLE))
        now = session.out.now.timestamp()
        question = f"Delete {plural(total, 'dead task')} of {', '.join(stored)}?"
        confirm(question, [describe(task.view(now=now)) for task in first], yes=yes)

    def act(name: str) -> tuple[dict[str, object], str]:
        deleted = session.inspector.queues.purge(name, TaskState.ARCHIVED)
        document = {"queue": name, "deleted": deleted}
        return document, f"{plural(deleted, 'dead task')} deleted from {name}"

    act_on_each(session, "qd.dlq.purge/1", stored, act)


@dlq.command(
    "export", examples=("qd dlq export dead.jsonl", "qd dlq export - --type email:send | gzip")
)
@click.argument("file", shell_complete=files)
@filter_options
@with_session
def export(session: Session, file: str, chosen: Filter) -> None:
    """
    Write dead tasks to a file, one JSON document a line; - is stdout.

    Nothing is changed. `qd dlq import` reads the file; the payload is kept byte for byte. A file
    that exists is not overwritten.
    """
    from qd.cli.dlq_file import export_tasks

    export_tasks(session, file, chosen)


@dlq.command(
    "import", examples=("qd dlq import dead.jsonl", "qd dlq import dead.jsonl --queue low")
)
@click.argument("file", shell_complete=files)
@click.option(
    "-q",
    "--queue",
    metavar="NAME",
    shell_complete=candidates.queues,
    help="Put them all into this queue; else into their own.",
)
@with_session
def import_(session: Session, file: str, queue: str | None) -> None:
    """
    Put exported tasks back into the dead letters.

    They do not run before they are requeued. A task whose id is in use is refused, so that
    importing a file twice changes nothing more.
    """
    from qd.cli.dlq_file import import_tasks

    import_tasks(session, file, queue)
