"""
Act on many tasks: collect, show, ask, and do it in pieces.

What was found is what is done: the ids are collected first, shown, and then acted on. A task that
has been moved by others meanwhile is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from qd.cli.ask import SAMPLE, confirm
from qd.cli.carry import Act, Carried, carry_out
from qd.cli.failures import INTERRUPTED
from qd.cli.render import plural
from qd.cli.selection import Filter, filter_options, find, matching
from qd.cli.session import Session
from qd.cli.tasktext import describe
from qd.cli.types import RATE
from qd.errors import ExitCode, UsageError, WrongState

if TYPE_CHECKING:
    from qd.cli.guard import Guard
    from qd.inspector.views import TaskView
    from qd.protocol.state import TaskState

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Bulk:
    """How to act on many tasks: `rate` per second, `dry_run` only shows, `yes` does not ask."""

    everything: bool
    filter: Filter
    rate: float | None
    dry_run: bool
    yes: bool


@dataclass(slots=True)
class Found:
    """Tasks that were found: their ids by queue and state, and the first few to show."""

    places: dict[tuple[str, TaskState], list[str]] = field(default_factory=dict)
    sample: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, queue: str, state: TaskState, task_id: str, view: Callable[[], TaskView]) -> None:
        """Note one more; `view` is asked for only if it is one of those to be shown."""
        self.places.setdefault((queue, state), []).append(task_id)
        self.count += 1
        if len(self.sample) < SAMPLE:
            self.sample.append(describe(view()))


def bulk_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add the filters and `--all --rate --dry-run -y`; the command gets them as `bulk`."""

    @click.option("--all", "everything", is_flag=True, help="All tasks that match the filters.")
    @filter_options
    @click.option("--rate", type=RATE, help="No faster than this, as in 50/s.")
    @click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
    @click.option("-y", "--yes", is_flag=True, help="Do not ask.")
    @wraps(command)
    def wrapper(
        *args: Any,
        everything: bool,
        chosen: Filter,
        rate: float | None,
        dry_run: bool,
        yes: bool,
        **kwargs: Any,
    ) -> R:
        return command(*args, bulk=Bulk(everything, chosen, rate, dry_run, yes), **kwargs)

    return wrapper


def collect(session: Session, ids: Sequence[str], states: Sequence[TaskState], bulk: Bulk) -> Found:
    """
    Find the tasks that a command is about: the named ones, or with --all those that match.

    Raises:
        UsageError: Neither ids nor --all, or both.
        TaskNotFound: One of the ids is not there.
    """
    if bool(ids) == bulk.everything:
        raise UsageError(
            "Both ids and --all are given" if ids else "Neither ids nor --all is given",
            hint="Name tasks by their ids, or take --all with filters such as --queue and --type.",
        )
    found = Found()
    if not ids:
        now = session.out.now.timestamp()
        for task in matching(session, states, bulk.filter):
            found.add(task.queue, task.state, task.id, partial(task.view, now=now))
        return found
    views = [find(session, one, bulk.filter.queues) for one in dict.fromkeys(ids)]
    for view in {(one.queue, one.id): one for one in views}.values():
        found.add(view.queue, _state_in(view, states), view.id, partial(_itself, view))
    return found


def finish(
    session: Session,
    schema: str,
    title: str,
    found: Found,
    bulk: Bulk,
    act: Act,
    *,
    ask: bool,
    guard: Guard | None = None,
) -> None:
    """
    Ask if need be, act on what was found, and say how many it were.

    `title` is the verb of the question, such as `Delete`; `act` takes queue, state and ids and
    returns how many tasks it has acted on. Exit code 4 if others had moved some meanwhile or the
    guard has stopped it, 130 if the user has.
    """
    question = f"{title} {plural(found.count, 'task')}"
    if bulk.dry_run:
        for line in found.sample:
            session.out.say(f"  {line}")
    elif ask and found.count:
        confirm(f"{question}?", found.sample, yes=bulk.yes)
    carried = Carried()
    if not bulk.dry_run:
        carried = carry_out(found.places, bulk.rate, title, act, guard)
    sentence = f"{title}: {plural(carried.done, 'task')} done"
    if bulk.dry_run:
        sentence = f"{title}: {plural(found.count, 'task')} would be"
    elif carried.stopped:
        sentence += f", {found.count - carried.tried:,} of {found.count:,} left as they were"
    queues = {queue: 0 for queue, _ in found.places}
    for (queue, _), ids in found.places.items():
        queues[queue] += len(ids)
    document: dict[str, Any] = {
        "matched": found.count,
        "done": carried.done,
        "dry_run": bulk.dry_run,
        "stopped": carried.stopped or None,
        "queues": queues,
        "watched": guard and {"ended": guard.ended, "failed": guard.failed},
    }
    plain = str(found.count if bulk.dry_run else carried.done)
    session.out.result(schema, document, sentence, plain)
    if not bulk.dry_run:
        _leave(session, found, carried)


def _leave(session: Session, found: Found, carried: Carried) -> None:
    """End with the exit code that says how much of it was done."""
    if carried.stopped:
        session.out.say(f"stopped: {carried.stopped}. The same command goes on with the rest.")
    moved = carried.tried - carried.done
    if moved:
        session.out.say(f"{plural(moved, 'task')} had been moved by others meanwhile")
    if carried.done < found.count:
        code = ExitCode.PARTLY if carried.done else ExitCode.FAILED
        interrupted = carried.stopped == "interrupted"
        click.get_current_context().exit(INTERRUPTED if interrupted else code)


def _itself(view: TaskView) -> TaskView:
    return view


def _state_in(view: TaskView, states: Sequence[TaskState]) -> TaskState:
    from qd.protocol.state import TaskState

    state = TaskState(view.state)
    if state not in states:
        allowed = " or ".join(one.value for one in states)
        raise WrongState(
            f'Task "{view.id}" in queue {view.queue} is {state.value}; this needs {allowed}.',
            hint=f"See it with `qd task show {view.id}`.",
        )
    return state
