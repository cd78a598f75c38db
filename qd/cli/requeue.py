"""`qd dlq requeue`: as they were, with new payloads, or in another queue."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from qd import jsoncodec
from qd.cli.bulk import Bulk, Found, finish
from qd.cli.session import Session
from qd.errors import UsageError

if TYPE_CHECKING:
    from qd.cli.guard import Guard
    from qd.inspector.views import TaskView
    from qd.protocol.state import TaskState


def requeue_tasks(
    session: Session,
    found: Found,
    bulk: Bulk,
    guard: Guard | None,
    *,
    keep_retries: bool,
    to: str | None,
    edit: bool,
) -> None:
    """Let dead tasks run again, and show how many; as `finish`."""
    tasks = session.inspector.tasks
    target = None if to is None else _checked(session, to)
    payloads = _edited(session, found) if edit else {}

    def act(queue: str, state: TaskState, some: list[str]) -> int:
        if target is None or target == queue:
            done = tasks.run_many(
                queue, some, state=state, keep_retries=keep_retries, payloads=payloads
            )
        else:
            done = tasks.move_many(
                queue, some, state=state, to=target, keep_retries=keep_retries, payloads=payloads
            )
        if guard is not None:
            guard.sent(target or queue, some)
        return done

    ask = bulk.everything
    finish(session, "qd.dlq.requeue/1", "Requeue", found, bulk, act, ask=ask, guard=guard)


def _checked(session: Session, queue: str) -> str:
    from qd.protocol import names

    stored = session.stored(queue)
    names.check_queue(stored)
    if stored not in session.queues():
        session.out.say(f"Queue {stored} is new; is there a worker that takes it?")
    return stored


def _edited(session: Session, found: Found) -> dict[str, bytes]:
    payloads: dict[str, bytes] = {}
    for (queue, _), ids in found.places.items():
        for task_id in ids:
            view = session.inspector.tasks.get(queue, task_id)
            payload = _edit(view)
            if payload is not None:
                payloads[task_id] = payload
    return payloads


def _edit(view: TaskView) -> bytes | None:
    """Return the payload as the user has changed it; None if it stays as it is."""
    try:
        content = jsoncodec.loads(view.payload) if view.payload else None
    except ValueError as error:
        raise UsageError(
            f"The payload of {view.id} is not JSON and cannot be edited: {error}",
            hint="Export it with `qd dlq export`, change the file, and import it.",
        ) from error
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    while True:
        changed = click.edit(text, extension=".json")
        if changed is None or changed == text:
            return None
        try:
            return jsoncodec.dumps(jsoncodec.loads(changed))
        except ValueError as error:
            click.echo(f"This is not JSON: {error}", err=True)
            if not click.confirm("Edit it again?", default=True, err=True):
                raise UsageError(
                    f"The payload of {view.id} was not changed: {error}",
                    hint="Nothing was requeued.",
                ) from error
            text = changed
