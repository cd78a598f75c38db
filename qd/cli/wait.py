"""Wait for a task to end: `qd task wait`, `qd enqueue --wait`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import click

from qd.cli.progress import task_bar
from qd.cli.render import plural
from qd.cli.session import Session
from qd.client.waiting import wait_for_end
from qd.errors import ExitCode, TaskNotFound

if TYPE_CHECKING:
    from qd.inspector.views import TaskView


def wait_for(session: Session, queue: str, task_id: str, timeout: float) -> None:
    """
    Show how a task ends, and on a terminal how far it is. One that is gone has succeeded without retention, or was deleted.

    An archived task ends the command with exit code 1.

    Raises:
        TimedOut: It has not ended within `timeout` seconds; it goes on all the same.
    """
    endpoint = session.connection.endpoint
    with task_bar() as show:
        waiting = wait_for_end(
            endpoint, queue, task_id, timeout=timeout, on_change=lambda task: show(task.progress)
        )
        _run(waiting)
    view = _kept(session, queue, task_id)
    if view is None:
        session.out.result(
            "qd.task.wait/1",
            {"id": task_id, "queue": queue, "state": None, "task": None},
            f"{task_id} has ended; nothing of it is kept",
            "gone",
        )
        return
    outcome = f"{task_id} {view.state}"
    if view.state == "archived":
        outcome += f" after {plural(view.retried + 1, 'attempt')}: {view.error}"
    elif view.result:
        outcome += f": {view.result.decode('utf-8', 'backslashreplace')}"
    session.out.result(
        "qd.task.wait/1",
        {"id": task_id, "queue": queue, "state": view.state, "task": view.as_dict()},
        outcome,
        view.state,
    )
    if view.state == "archived":
        click.get_current_context().exit(ExitCode.FAILED)


def _run(waiting: Coroutine[Any, Any, Any]) -> None:
    """Run it on a loop of its own; Ctrl-C is heard when the loop runs, not while it is being made."""

    async def listen() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        await waiting

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        asyncio.run(listen())
    finally:
        waiting.close()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _kept(session: Session, queue: str, task_id: str) -> TaskView | None:
    try:
        return session.inspector.tasks.get(queue, task_id)
    except TaskNotFound:
        return None
