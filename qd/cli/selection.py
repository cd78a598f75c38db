"""Which tasks are meant: by id, or all that match filters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from qd.cli.ask import SAMPLE
from qd.cli.session import Session
from qd.cli.tasktext import since_when
from qd.cli.types import DURATION, PATTERN
from qd.errors import TaskNotFound

if TYPE_CHECKING:
    from qd.inspector.views import TaskView
    from qd.protocol.state import TaskState

R = TypeVar("R")

PIECE = 500
"""Tasks in one step; as many as the inspector does at once."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What tasks must be like; `older` is in seconds, `limit` the most that are taken."""

    queues: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    error: re.Pattern[str] | None = None
    older: float | None = None
    group: str | None = None
    limit: int | None = None

    def matches(self, view: TaskView, now: datetime) -> bool:
        """Tell whether a task is meant. One of unknown age is not older than anything."""
        if self.types and view.type not in self.types:
            return False
        if self.error is not None and not self.error.search(view.error):
            return False
        if self.older is None:
            return True
        since = since_when(view)
        return since is not None and now - since > timedelta(seconds=self.older)


def filter_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add `--queue --type --error --older --limit`; the command gets them as `chosen`, a Filter."""

    @click.option(
        "-q",
        "--queue",
        "queues",
        metavar="NAME",
        multiple=True,
        help="Only of this queue; repeatable.",
    )
    @click.option(
        "--type", "types", metavar="TYPE", multiple=True, help="Only of this task type; repeatable."
    )
    @click.option("--error", type=PATTERN, help="Only with an error in which this is found.")
    @click.option("--older", type=DURATION, help="Only if in this state for longer, as in 1h.")
    @click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many.")
    @wraps(command)
    def wrapper(
        *args: Any,
        queues: tuple[str, ...],
        types: tuple[str, ...],
        error: re.Pattern[str] | None,
        older: float | None,
        limit: int | None,
        **kwargs: Any,
    ) -> R:
        chosen = Filter(queues, types, error, older, limit=limit)
        return command(*args, chosen=chosen, **kwargs)

    return wrapper


def matching(
    session: Session, states: Sequence[TaskState], chosen: Filter
) -> Iterator[tuple[TaskView, TaskState]]:
    """Yield the tasks in `states` that match, queue by queue, up to the limit."""
    from qd.protocol.state import TaskState

    left = chosen.limit
    batch = PIECE if chosen.limit is None else min(PIECE, max(chosen.limit, SAMPLE))
    for queue in session.chosen(chosen.queues):
        for state in states:
            group = chosen.group if state is TaskState.AGGREGATING else None
            for view in session.inspector.tasks.iterate(queue, state, batch=batch, group=group):
                if not chosen.matches(view, session.out.now):
                    continue
                yield view, state
                if left is not None:
                    left -= 1
                    if not left:
                        return


def find(session: Session, task_id: str, queues: Sequence[str] = ()) -> TaskView:
    """
    Return the task with an id, from the named queues or from whichever has it.

    Raises:
        TaskNotFound: None of the queues has it.
        WrongState: Several have; one has to be named.
    """
    if len(queues) == 1:
        (queue,) = session.chosen(queues)
        return session.inspector.tasks.get(queue, task_id)
    view = session.inspector.tasks.find(task_id)
    if view.queue not in session.chosen(queues):
        where = "the named queues" if queues else f"queues with prefix {session.stored('')}"
        raise TaskNotFound(
            f'There is no task "{task_id}" in {where}.', hint=f"It is in queue {view.queue}."
        )
    return view
