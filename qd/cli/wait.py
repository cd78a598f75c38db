"""Wait for a task to end: `qd task wait`, `qd enqueue --wait`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from qd.cli.render import plural
from qd.cli.session import Session
from qd.durations import format_duration
from qd.errors import ExitCode, TaskNotFound, TimedOut

if TYPE_CHECKING:
    from qd.inspector.views import TaskView

# Redis tells nobody that a task has ended. Short looks first, for tasks that take no time.
_FIRST_LOOK = 0.02
_LAST_LOOK = 0.5


def wait_for(session: Session, queue: str, task_id: str, timeout: float) -> None:
    """
    Show how a task ends. One that is gone has succeeded without retention, or was deleted.

    An archived task ends the command with exit code 1.

    Raises:
        TimedOut: It has not ended within `timeout` seconds; it goes on all the same.
    """
    view = _ended(session, queue, task_id, timeout)
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


def _ended(session: Session, queue: str, task_id: str, timeout: float) -> TaskView | None:
    until = time.monotonic() + timeout
    pause = _FIRST_LOOK
    while True:
        try:
            view = session.inspector.tasks.get(queue, task_id)
        except TaskNotFound:
            return None
        if view.state in ("completed", "archived"):
            return view
        left = until - time.monotonic()
        if left <= 0:
            raise TimedOut(
                f"Task {task_id} is still {view.state} after {format_duration(timeout)}.",
                hint=f"It goes on. Look at it with `qd task show {task_id}`, or wait longer.",
            )
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, _LAST_LOOK)
