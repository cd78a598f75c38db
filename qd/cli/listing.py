"""`qd task ls`: find tasks among any number of them, page by page, and count them."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from qd.cli import cursor
from qd.cli.render import Column, plural
from qd.cli.selection import Filter, matching
from qd.cli.session import Session
from qd.errors import UsageError

if TYPE_CHECKING:
    from qd.inspector.glance import Glance, Place
    from qd.inspector.views import TaskView
    from qd.protocol.state import TaskState

_PAGE = 30
_CHUNK = 100


@dataclass(slots=True)
class Looked:
    """How many tasks were looked at."""

    count: int = 0

    def __call__(self) -> None:
        self.count += 1


def list_tasks(
    session: Session,
    states: Sequence[TaskState],
    chosen: Filter,
    columns: Sequence[Column[TaskView]],
    *,
    sort: str | None,
    token: str | None,
) -> None:
    """Show the tasks that match, at most as many as `chosen.limit` says; 0 shows all."""
    place = None if token is None else _checked(session, cursor.decode(token), states, chosen)
    if sort is not None and place is not None:
        raise UsageError("--sort and --cursor are both given", hint="Take a larger --limit.")
    limit = _PAGE if chosen.limit is None else chosen.limit
    looked = Looked()
    found = matching(session, states, _without_limit(chosen), after=place, look=looked)
    if not limit and sort is None and session.out.form in ("plain", "jsonl"):
        _stream(session, found, columns)
        return
    glances = _first(found, sort, limit)
    shown = glances[: limit or None]
    more = len(glances) > len(shown)
    following = cursor.encode(shown[-1].place) if more and shown and sort is None else None
    total = _total(session, states, chosen)
    session.out.rows(
        "qd.task.ls/1",
        "tasks",
        session.inspector.tasks.views(shown),
        columns,
        lambda view: view.as_dict(),
        empty="No tasks match.",
        more={
            "limit": limit,
            "more": more,
            "cursor": following,
            "looked_at": looked.count,
            "total": total,
        },
    )
    if not session.out.machine and shown:
        go_on = f" Go on with --cursor {following}" if following else ""
        there = " there are more." if more else " that is all."
        session.out.say(
            f"{len(shown)} shown, {looked.count:,} looked at of {plural(total, 'task')};"
            f"{there}{go_on}"
        )


def count_tasks(session: Session, states: Sequence[TaskState], chosen: Filter) -> None:
    """Show how many tasks match, by queue, state and type, beside how many there are."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for task in matching(session, states, chosen):
        counts[task.queue, task.state.value, task.type] += 1
    rows = [(*key, count) for key, count in sorted(counts.items())]
    total, matched = _total(session, states, chosen), sum(counts.values())
    columns: list[Column[tuple[str, str, str, int]]] = [
        Column("QUEUE", lambda row: row[0]),
        Column("STATE", lambda row: row[1]),
        Column("TYPE", lambda row: row[2]),
        Column("TASKS", lambda row: row[3]),
    ]
    session.out.rows(
        "qd.task.count/1",
        "counts",
        rows,
        columns,
        lambda row: dict(zip(("queue", "state", "type", "tasks"), row, strict=True)),
        empty="No tasks match.",
        more={"matched": matched, "total": total},
    )
    if not session.out.machine and rows:
        session.out.say(f"{matched:,} of {plural(total, 'task')} match.")


def _first(found: Iterator[Glance], sort: str | None, limit: int) -> list[Glance]:
    """One more than are to be shown, so that it is known whether there are more."""
    wanted = limit + 1 if limit else None
    if sort is None:
        return list(islice(found, wanted))
    key, descending = _KEYS[sort.removeprefix("-")], sort.startswith("-")
    if wanted is None:
        return sorted(found, key=key, reverse=descending)
    return (heapq.nlargest if descending else heapq.nsmallest)(wanted, found, key=key)


_KEYS: dict[str, Callable[[Glance], Any]] = {
    "since": lambda task: task.since or 0.0,
    "type": lambda task: task.type,
    "id": lambda task: task.id,
    "error": lambda task: task.error,
}


def _stream(session: Session, found: Iterable[Glance], columns: Sequence[Column[TaskView]]) -> None:
    count = 0
    walk = iter(found)
    while some := list(islice(walk, _CHUNK)):
        views = session.inspector.tasks.views(some)
        session.out.rows(
            "qd.task.ls/1", "tasks", views, columns, lambda view: view.as_dict(), empty=""
        )
        count += len(some)
    if not count and not session.out.machine:
        session.out.say("No tasks match.")


def _total(session: Session, states: Sequence[TaskState], chosen: Filter) -> int:
    """How many tasks there are in the queues and states that were looked at."""
    names = set(session.chosen(chosen.queues))
    if chosen.group is not None:
        tasks = session.inspector.tasks
        return sum(tasks.count(name, state, chosen.group) for name in names for state in states)
    views = [view for view in session.inspector.queues.all() if view.name in names]
    return sum(getattr(view, state.value) for view in views for state in states)


def _without_limit(chosen: Filter) -> Filter:
    from dataclasses import replace

    return replace(chosen, limit=None)


def _checked(session: Session, place: Place, states: Sequence[TaskState], chosen: Filter) -> Place:
    where = place.container
    if where.queue not in session.chosen(chosen.queues) or where.state not in states:
        raise UsageError(
            f"The cursor stands among {where.state.value} tasks of {where.queue}, which were not "
            "asked for.",
            hint="Repeat the command that gave it, with --cursor added.",
        )
    return place
