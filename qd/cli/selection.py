"""Which tasks are meant: by id, or all that match filters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from qd.cli import candidates
from qd.cli.ask import SAMPLE
from qd.cli.render import BEGINNING, is_made_id
from qd.cli.session import Session
from qd.cli.types import PAST, PATTERN, WHERE
from qd.errors import TaskNotFound, WrongState

if TYPE_CHECKING:
    from qd.cli.conditions import Condition
    from qd.inspector.glance import Glance, Place
    from qd.inspector.views import TaskView
    from qd.protocol.state import TaskState

R = TypeVar("R")

PIECE = 500
"""Tasks in one step; as many as the inspector does at once."""


@dataclass(frozen=True, slots=True)
class Filter:
    """
    What tasks must be like; `limit` is the most that are taken.

    `since` and `older` bound the moment since when a task is in its state: not before, and before.
    """

    queues: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    error: re.Pattern[str] | None = None
    since: datetime | None = None
    older: datetime | None = None
    payload: tuple[Condition, ...] = ()
    group: str | None = None
    limit: int | None = None

    @property
    def picky(self) -> bool:
        """True if it looks at the tasks themselves, beyond queue, state and group."""
        return bool(self.types or self.error or self.since or self.older or self.payload)

    def matches(self, task: Glance) -> bool:
        """Tell whether a task is meant. One of unknown age is neither old nor new."""
        if self.types and task.type not in self.types:
            return False
        if self.error is not None and not self.error.search(task.error):
            return False
        if not self._in_time(task):
            return False
        if not self.payload:
            return True
        from qd.cli.conditions import all_hold

        return all_hold(self.payload, task.payload)

    def _in_time(self, task: Glance) -> bool:
        if self.since is None and self.older is None:
            return True
        since = task.since
        if since is None:
            return False
        if self.since is not None and since < self.since.timestamp():
            return False
        return self.older is None or since < self.older.timestamp()


_FILTERS = (
    click.option(
        "-q",
        "--queue",
        "queues",
        metavar="NAME",
        shell_complete=candidates.queues,
        multiple=True,
        help="Only of this queue; repeatable.",
    ),
    click.option(
        "--type",
        "types",
        metavar="TYPE",
        shell_complete=candidates.types,
        multiple=True,
        help="Only of this task type; repeatable.",
    ),
    click.option("--error", type=PATTERN, help="Only with an error in which this is found."),
    click.option("--since", type=PAST, help="Only if in this state since then, as in yesterday."),
    click.option("--older", type=PAST, help="Only if in this state for longer, as in 1h or today."),
    click.option(
        "--payload", type=WHERE, multiple=True, help="Only with this in it, as in user.id=42."
    ),
    click.option(
        "--limit", type=click.IntRange(min=0), metavar="N", help="At most so many; 0 for all."
    ),
)


def filter_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add the filters; the command gets them as `chosen`, a Filter. `--limit 0` is no limit."""

    @wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> R:
        names = ("queues", "types", "error", "since", "older", "payload", "limit")
        chosen = Filter(**{name: kwargs.pop(name) for name in names})
        return command(*args, chosen=chosen, **kwargs)

    decorated: Callable[..., R] = wrapper
    for option in reversed(_FILTERS):
        decorated = option(decorated)
    return decorated


def matching(
    session: Session,
    states: Sequence[TaskState],
    chosen: Filter,
    *,
    after: Place | None = None,
    look: Callable[[], None] = lambda: None,
) -> Iterator[Glance]:
    """
    Yield the tasks in `states` that match, queue by queue, up to the limit.

    It goes on behind `after`, if that is given. `look` is called for each task that is looked at.
    """
    from qd.protocol.state import TaskState

    left = chosen.limit or None
    batch = PIECE if left is None or chosen.picky else min(PIECE, max(left, SAMPLE))
    for queue in session.chosen(chosen.queues):
        for state in states:
            if after is not None and (queue, state) != (
                after.container.queue,
                after.container.state,
            ):
                continue
            group = chosen.group if state is TaskState.AGGREGATING else None
            begin, after = after, None
            for task in session.inspector.tasks.scan(
                queue, state, group=group, after=begin, batch=batch
            ):
                look()
                if not chosen.matches(task):
                    continue
                yield task
                if left is not None:
                    left -= 1
                    if not left:
                        return


def find(session: Session, text: str, queues: Sequence[str] = ()) -> TaskView:
    """
    Return the task with an id, from the named queues or from whichever has it.

    Of a made id the first eight characters will do. Ids that somebody has chosen are taken as they
    are: where order-1 is gone, order-10 is not meant.

    Raises:
        TaskNotFound: None of the queues has it.
        WrongState: Several have; one has to be named.
    """
    try:
        return _find(session, text, queues)
    except TaskNotFound:
        absent = session.inspector.flows.absent(text) if ":" in text else ""
        if absent:
            raise TaskNotFound(absent, hint="`qd flow show` shows all links of a flow.") from None
        if len(text) < BEGINNING or not set(text) <= set("0123456789abcdef-"):
            raise
        known = session.inspector.tasks.beginning_with(text, session.chosen(queues))
        begun = [(queue, one) for queue, one in known if is_made_id(one)]
        if not begun:
            raise
    if len(begun) > 1:
        places = ", ".join(f"{one} in {queue}" for queue, one in begun)
        raise WrongState(f'The ids of several tasks begin with "{text}": {places}.')
    ((queue, task_id),) = begun
    return session.inspector.tasks.get(queue, task_id)


def _find(session: Session, task_id: str, queues: Sequence[str]) -> TaskView:
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
