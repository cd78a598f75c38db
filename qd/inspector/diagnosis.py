"""What is known about why a task is where it is: the facts, without words for them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from qd.inspector.views import BreakerView, LineView, QueueView, RunningView, ServerView, TaskView
from qd.protocol.state import TaskState

if TYPE_CHECKING:
    from qd.inspector.flows import PlaceView
    from qd.inspector.inspector import Inspector

_WINDOW = 0.2
"""Seconds over which a rate is measured."""

_ENOUGH = 3
"""Tasks that must end in that time to speak of a rate; else the average of the day is taken."""


class Diagnosis(Struct, frozen=True):
    """
    A task and what may hold it up.

    - `servers`: live worker processes that take its queue; `running`: where it runs, if one says so
    - `ahead`: tasks that are taken before it; None unless it is pending, or when there are too many
      to count. `rate`: tasks a second that its queue does now, or on average today
    - `more_important`: queues with tasks that all of `servers` strictly prefer
    - `line`: where it stands in the line of the limit that it waits at; `breaker`: that
      which holds it back
    - `place`: where it stands in its flow, if it is a link of one
    - `lock_holder`, `lock_left`: the task that has the uniqueness lock, and for how many seconds
    """

    task: TaskView
    queue: QueueView
    servers: tuple[ServerView, ...]
    running: RunningView | None = None
    ahead: int | None = None
    rate: float | None = None
    rate_of_today: bool = False
    more_important: tuple[str, ...] = ()
    line: LineView | None = None
    breaker: BreakerView | None = None
    place: PlaceView | None = None
    lock_holder: str = ""
    lock_left: float = 0.0

    @property
    def eta(self) -> float | None:
        """Seconds until it is taken, at the rate; None when that cannot be said."""
        return self.ahead / self.rate if self.ahead is not None and self.rate else None


def diagnose(inspector: Inspector, task: TaskView) -> Diagnosis:
    """Gather the facts about a task. Takes at least 0.2 s if there are tasks ahead of it."""
    started = time.monotonic()
    queue = inspector.queues.info(task.queue)
    alive = inspector.servers.list()
    servers = tuple(one for one in alive if task.queue in dict(one.queues))
    running = next((run for one in alive for run in one.running if _same(run, task)), None)
    ahead = inspector.tasks.ahead(task.queue, task.id) if task.state == TaskState.PENDING else None
    rate, of_today = None, False
    if ahead and servers:
        time.sleep(max(0.0, started + _WINDOW - time.monotonic()))
        rate, of_today = _rate(queue, inspector.queues.info(task.queue))
    holder, left = inspector.tasks.lock(task.unique_key) if task.unique_key else ("", 0.0)
    return Diagnosis(
        task,
        queue,
        servers,
        running,
        ahead,
        rate,
        of_today,
        _more_important(inspector, task.queue, servers),
        inspector.limits.place(task) if task.waits[:1] == ("limit",) else None,
        _breaker(inspector, task),
        inspector.place_in_flow(task),
        holder,
        left,
    )


def _breaker(inspector: Inspector, task: TaskView) -> BreakerView | None:
    kind, name, key = (*task.waits, "", "", "")[:3]
    return inspector.breakers.get(name, key) if kind == "breaker" else None


def _same(run: RunningView, task: TaskView) -> bool:
    return task.state == TaskState.ACTIVE and (run.queue, run.task_id) == (task.queue, task.id)


def _rate(before: QueueView, after: QueueView) -> tuple[float | None, bool]:
    """Tasks a second, and whether that is the average of the day."""
    done = after.processed_total - before.processed_total
    took = (after.as_of - before.as_of).total_seconds()
    if done >= _ENOUGH and took > 0:
        return done / took, False
    midnight = after.as_of.replace(hour=0, minute=0, second=0, microsecond=0)
    today = (after.as_of - midnight).total_seconds()
    return (after.processed / today, True) if after.processed and today else (None, False)


def _more_important(
    inspector: Inspector, queue: str, servers: Sequence[ServerView]
) -> tuple[str, ...]:
    if not servers or not all(one.strict_priority for one in servers):
        return ()
    preferred = [
        {name for name, weight in one.queues if weight > dict(one.queues)[queue]} for one in servers
    ]
    everywhere = set.intersection(*preferred)
    known = everywhere.intersection(inspector.queues.names())
    return tuple(name for name in sorted(known) if inspector.tasks.count(name, TaskState.PENDING))
