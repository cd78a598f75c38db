"""`qd enqueue`: one task from the command line, or many from a file."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from qd.cli import candidates
from qd.cli.frame import Command, files
from qd.cli.render import iso, relative
from qd.cli.session import Session, with_session
from qd.cli.types import ASSIGNMENT, DURATION, MOMENT
from qd.errors import UsageError

if TYPE_CHECKING:
    from qd.client.info import TaskInfo


@click.command(
    "enqueue",
    cls=Command,
    short_help="Enqueue one task, or many from a file.",
    examples=(
        "qd enqueue email:send to=a@example.com --in 5m",
        'qd enqueue report:daily \'{"region": "eu"}\' --queue low --unique 10m',
        "qd enqueue --from-jsonl tasks.jsonl --queue low",
    ),
)
@click.argument("task_type", metavar="[TYPE]", required=False, shell_complete=candidates.types)
@click.argument("payload", nargs=-1, metavar="[JSON | @FILE | - | K=V...]")
@click.option(
    "-q",
    "--queue",
    metavar="NAME",
    shell_complete=candidates.queues,
    help="Queue of the task, without the configured prefix.",
)
@click.option("--in", "process_in", type=DURATION, help="Run no earlier than after this, as in 5m.")
@click.option("--at", "process_at", type=MOMENT, help="Run no earlier than at this RFC 3339 time.")
@click.option("--max-retry", type=click.IntRange(min=0), metavar="N", help="Tries after the first.")
@click.option("--timeout", type=DURATION, help="Longest run.")
@click.option("--deadline", type=MOMENT, help="Stop the task at this RFC 3339 time.")
@click.option("--unique", type=DURATION, help="Refuse a twin for this long.")
@click.option("--id", "task_id", metavar="ID", help="Id of the task; else one is made.")
@click.option("--retention", type=DURATION, help="How long to keep the task when it succeeded.")
@click.option(
    "--group",
    metavar="NAME",
    shell_complete=candidates.groups,
    help="Let the task wait in this group until it is aggregated.",
)
@click.option("--header", "headers", type=ASSIGNMENT, multiple=True, help="Header; repeatable.")
@click.option("--wait", is_flag=True, help="Wait until the task has ended.")
@click.option("--wait-timeout", type=DURATION, default="60s", show_default=True)
@click.option(
    "--from-jsonl",
    metavar="FILE",
    shell_complete=files,
    help="Enqueue every line of a file; - for stdin.",
)
@click.option("--dry-run", is_flag=True, help="Check everything, send nothing.")
@with_session
def enqueue(
    session: Session,
    /,
    task_type: str | None,
    payload: tuple[str, ...],
    wait: bool,
    wait_timeout: float,
    from_jsonl: str | None,
    dry_run: bool,
    **given: Any,
) -> None:
    """
    Enqueue one task, or many from a file.

    The payload is JSON, k=v pairs that become a JSON object (a value that is JSON is taken as
    JSON, any other as text), @FILE, or - for stdin. Without a payload the task has none.

    Your module is not imported, so options in its code are not known here: give them, or set them
    under `tasks:` in the configuration.

    Each line of a --from-jsonl file is {"type": ..., "payload": ..., and the options of a task
    by their names: "queue", "max_retry", "timeout", "deadline", "process_in", "process_at",
    "task_id", "unique", "retention", "group", "headers"}. With TYPE, each line is a payload. A
    line that is refused is reported by its number and does not stop the others.
    """
    given["headers"] = dict(given["headers"]) or None
    options = {name: value for name, value in given.items() if value is not None}
    if "process_in" in options and "process_at" in options:
        raise UsageError("Both --in and --at are given.", hint="Use one of them.")
    if from_jsonl is not None:
        from qd.cli.enqueue_file import enqueue_file

        if payload or wait or "task_id" in options:
            raise UsageError("--from-jsonl goes with neither a payload, --id nor --wait.")
        enqueue_file(session, from_jsonl, task_type, options, dry_run=dry_run)
        return
    if task_type is None:
        raise UsageError("The task type is missing.", hint="qd enqueue TYPE [payload]")
    _enqueue_one(session, task_type, payload, options, dry_run, wait_timeout if wait else None)


def _enqueue_one(
    session: Session,
    task_type: str,
    words: tuple[str, ...],
    options: dict[str, Any],
    dry_run: bool,
    wait_timeout: float | None,
) -> None:
    from qd.cli.payload import read_payload

    content = read_payload(words)
    if dry_run:
        info = _as_if(session, task_type, content, options)
        session.out.result("qd.enqueue/1", document(info), f"Would enqueue {_sentence(info)}", "")
        return
    info = session.client.enqueue(task_type, content, **options)
    if info.dropped:
        text = f"Dropped {info.type}: queue {info.queue} is full, and its policy is to drop"
        session.out.result("qd.enqueue/1", document(info), text, "")
        return
    if wait_timeout is None:
        session.out.result("qd.enqueue/1", document(info), f"Enqueued {_sentence(info)}", info.id)
        return
    from qd.cli.wait import wait_for

    session.out.say(f"Enqueued {_sentence(info)}")
    wait_for(session, info.queue, info.id, wait_timeout)


def document(info: TaskInfo) -> dict[str, Any]:
    """The JSON form of an accepted task."""
    at = info.next_process_at
    return {
        "id": info.id,
        "type": info.type,
        "queue": info.queue,
        "state": "dropped" if info.dropped else info.state.value,
        "next_at": None if at is None else iso(at),
    }


def _as_if(session: Session, task_type: str, content: Any, options: dict[str, Any]) -> TaskInfo:
    """The task as it would be accepted; raises what enqueueing it would raise before sending."""
    from qd.app.client import make_composer
    from qd.client.info import TaskInfo
    from qd.handlers.options import TaskOptions

    composer = make_composer(session.settings)
    chosen = TaskOptions.of(**options).over(session.options_of(task_type))
    task = composer.compose(task_type, content, chosen, now=session.out.now.timestamp())
    return TaskInfo(task.new.id, task.type, task.queue, task.state, task.next_at)


def _sentence(info: TaskInfo) -> str:
    where = f"{info.type} to {info.queue}: {info.id}, {info.state.value}"
    if info.state == "scheduled" and info.next_process_at is not None:
        return f"{where} for {relative(info.next_process_at, datetime.now(UTC))}"
    return where
