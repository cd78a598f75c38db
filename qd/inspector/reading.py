"""Look at tasks: one by its id, or a container page by page."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from qd.broker.link import Link
from qd.errors import TaskNotFound, UsageError, WrongState
from qd.inspector.describe import describe
from qd.inspector.glance import Glance, Place
from qd.inspector.groups import Groups
from qd.inspector.known import require_queue
from qd.inspector.views import TaskView
from qd.protocol.ops import inspect, inspect_queues
from qd.protocol.ops.inspect import Container, Cursor, Outlines, Stored
from qd.protocol.ops.inspect_tasks import BATCH
from qd.protocol.state import TaskState

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

_TASKS_PER_TRIP = 100
_MESSAGES_PER_TRIP = 200
_IDS = 10_000
_FEW = 5
_GLANCES_PER_TRIP = 250
"""A millisecond or two of Redis, which others wait for."""


class TaskReader:
    """Reads tasks, and never changes any. `clock` gives Unix seconds."""

    def __init__(self, link: Link, clock: Callable[[], float]) -> None:
        self._link = link
        self._clock = clock

    def get(self, queue: str, task_id: str) -> TaskView:
        """
        Return one task, whatever its state.

        Raises:
            QueueNotFound: No such queue; the message proposes a name that is near.
            TaskNotFound: No such task; it may have ended without retention.
        """
        task = self._stored(queue, task_id)
        return describe(task, queue, task.state, now=self._clock())

    def get_many(self, queue: str, ids: Sequence[str]) -> dict[str, TaskView]:
        """Return those of the tasks that exist, by id."""
        now = self._clock()
        return {
            task.id: describe(task, queue, task.state, now=now)
            for task in self._stored_many(queue, ids)
        }

    def find(self, task_id: str) -> TaskView:
        """
        Return the task with this id from whatever queue it is in.

        Raises:
            TaskNotFound: No queue has it.
            WrongState: Several queues have a task with this id; the message names them.
        """
        found: list[tuple[str, Stored]] = []
        queues = self._link.execute(inspect_queues.names())
        for names in pieces(queues, _TASKS_PER_TRIP):
            tasks = self._link.execute_many([inspect.read_task(name, task_id) for name in names])
            found += [(name, task) for name, task in zip(names, tasks, strict=True) if task]
        if not found:
            raise TaskNotFound(
                f'There is no task "{task_id}" in any of {len(queues)} queues.',
                hint="A task that has succeeded is gone, unless it was given a retention.",
            )
        if len(found) > 1:
            raise WrongState(
                f'There is a task "{task_id}" in each of the queues '
                f"{', '.join(name for name, _ in found)}.",
                hint="Name the queue as well.",
            )
        queue, task = found[0]
        return describe(task, queue, task.state, now=self._clock())

    def beginning_with(self, start: str, queues: Sequence[str]) -> builtins.list[tuple[str, str]]:
        """
        Return queue and id of tasks whose id begins so, at most a few.

        Looked at are the first 10,000 of each queue and state: a whole archive, and what lists show.
        """
        found: builtins.list[tuple[str, str]] = []
        for queue in queues:
            for state in TaskState:
                ids = self.ids(queue, state, limit=_IDS)
                found += [(queue, one) for one in ids if one.startswith(start)]
                if len(found) > _FEW:
                    return found[:_FEW]
        return found

    def list(
        self,
        queue: str,
        state: TaskState,
        *,
        offset: int = 0,
        limit: int = 30,
        group: str | None = None,
    ) -> builtins.list[TaskView]:
        """
        Return up to *limit* tasks of one state, after passing over *offset*.

        Order: pending, the next to run first; active, the longest-running first; scheduled and
        retry, the next due first; archived and aggregating, the oldest first; completed, the first
        to expire first. Without *group*, aggregating tasks come group by group, by name. Ids whose
        message is gone or unreadable are shown as well.

        Raises:
            QueueNotFound: No such queue.
            UsageError: A negative offset or limit, or a group with a state that has none.
        """
        if offset < 0 or limit < 0:
            raise UsageError(f"offset {offset} and limit {limit} must not be negative")
        views: builtins.list[TaskView] = []
        sources = self._containers(queue, state, group)
        for source in sources:
            if len(sources) > 1:
                size = self._link.execute(inspect.count(source))
                if offset >= size:
                    offset -= size
                    continue
            views += self._walk(source, offset=offset, limit=limit - len(views), batch=BATCH)
            offset = 0
            if len(views) >= limit:
                break
        return views

    def iterate(
        self, queue: str, state: TaskState, *, batch: int = BATCH, group: str | None = None
    ) -> Iterator[TaskView]:
        """
        Yield all tasks of one state in the order of `list`, reading *batch* at a time (at most 500).

        Tasks may come and go meanwhile, also by what the caller does with them: each that stays
        where it is, is met. It ends after as many tasks as there were at the beginning, however
        many come in. Memory: one batch, at most some 4 MiB of payloads.

        Raises:
            QueueNotFound: No such queue; raised by the call itself.
            UsageError: A batch of less than one, or a group with a state that has none.
        """
        if batch < 1:
            raise UsageError(f"a batch of {batch} tasks cannot be read; take 1 to {BATCH}")
        sources = self._containers(queue, state, group)
        return self._iterate(sources, min(batch, BATCH))

    def scan(
        self,
        queue: str,
        state: TaskState,
        *,
        group: str | None = None,
        after: Place | None = None,
        batch: int = BATCH,
    ) -> Iterator[Glance]:
        """
        Walk over all tasks of one state as `iterate`, but only glance at them: 100,000 a second.

        *after* is the place of a glance, at which an earlier walk has stopped. The next page is read
        while the present one is looked at. Raises as `iterate`.
        """
        sources = self._containers(queue, state, group)
        cursor = Cursor()
        if after is not None:
            sources = [one for one in sources if one.group >= after.container.group]
            if sources and sources[0] == after.container:
                cursor = after.cursor
        return self._scan(sources, cursor, batch)

    def views(self, glances: Sequence[Glance]) -> builtins.list[TaskView]:
        """Return all that is known of tasks that were glanced at; of those gone since, the glance."""
        found: builtins.list[TaskView] = []
        for start in range(0, len(glances), _TASKS_PER_TRIP):
            some = glances[start : start + _TASKS_PER_TRIP]
            tasks = self._link.execute_many([inspect.read_task(one.queue, one.id) for one in some])
            now = self._clock()
            for glance, task in zip(some, tasks, strict=True):
                if task is None or task.state != glance.state:
                    found.append(glance.view(now=now))
                else:
                    found.append(describe(task, glance.queue, glance.state, now=now))
        return found

    def ids(self, queue: str, state: TaskState, *, limit: int) -> builtins.list[str]:
        """Return the ids of the first *limit* tasks of a state, without looking at the tasks."""
        sources = self._containers(queue, state, None)
        steps = [inspect.read_ids(source, offset=0, limit=limit) for source in sources]
        found = self._link.execute_many(steps) if steps else []
        return [one for some in found for one in some][:limit]

    def count(self, queue: str, state: TaskState, group: str | None = None) -> int:
        """Return how many tasks are in a state; raises QueueNotFound."""
        sources = self._containers(queue, state, group)
        return sum(self._link.execute(inspect.count(source)) for source in sources)

    def ahead(self, queue: str, task_id: str) -> int | None:
        """Return how many tasks are taken before a pending one; None if it is not near enough."""
        return self._link.execute(inspect.place(queue, task_id))

    def lock(self, unique_key: str) -> tuple[str, float]:
        """Return the task that has a uniqueness lock, and for how many seconds; "" if none has."""
        holder, left = self._link.execute_many(inspect.lock(unique_key))
        return holder, max(0.0, left / 1000)

    def _iterate(self, sources: Sequence[Container], batch: int) -> Iterator[TaskView]:
        for source in sources:
            size = self._link.execute(inspect.count(source))
            yield from self._walk(source, offset=0, limit=size, batch=batch)

    def _scan(self, sources: Sequence[Container], cursor: Cursor, batch: int) -> Iterator[Glance]:
        def read(source: Container, cursor: Cursor, most: int) -> Outlines:
            step = inspect.read_outlines(source, cursor, limit=min(_GLANCES_PER_TRIP, most))
            return self._link.execute(step)

        with ExitStack() as closing:
            ahead: ThreadPoolExecutor | None = None
            for source in sources:
                left = self._link.execute(inspect.count(source))
                page = read(source, cursor, min(batch, left)) if left > 0 else None
                while page is not None and page.rows:
                    left -= len(page.rows)
                    following: Future[Outlines] | None = None
                    if left > 0:
                        if ahead is None:
                            # Here, because most of what is read is one page.
                            from concurrent import futures

                            ahead = closing.enter_context(futures.ThreadPoolExecutor(1))
                        following = ahead.submit(read, source, page.after(-1), left)
                    for index in range(len(page.rows)):
                        yield Glance(source, page, index)
                    page = None if following is None else following.result()
                cursor = Cursor()

    def _walk(
        self, source: Container, *, offset: int, limit: int, batch: int
    ) -> Iterator[TaskView]:
        cursor = Cursor(offset)
        while limit > 0:
            page = self._link.execute(inspect.read_page(source, cursor, limit=min(batch, limit)))
            if not page.tasks:
                return
            now = self._clock()
            for task in page.tasks:
                yield describe(task, source.queue, source.state, now=now)
            limit -= len(page.tasks)
            cursor = page.cursor

    def _containers(
        self, queue: str, state: TaskState, group: str | None
    ) -> builtins.list[Container]:
        require_queue(self._link, queue)
        if state is TaskState.AGGREGATING:
            names = Groups(self._link, self._clock).names(queue) if group is None else [group]
            return [Container(queue, state, name) for name in names]
        if group is not None:
            raise UsageError(
                f'group "{group}" was given, but {state.value} tasks are in no group',
                hint="Leave the group out, or ask for aggregating tasks.",
            )
        return [Container(queue, state)]

    def _stored(self, queue: str, task_id: str) -> Stored:
        task = self._link.execute(inspect.read_task(queue, task_id))
        if task is None:
            require_queue(self._link, queue)
            raise TaskNotFound(
                f'There is no task "{task_id}" in queue "{queue}".',
                hint="A task that has succeeded is gone, unless it was given a retention.",
            )
        return task

    def _messages(self, queue: str, ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Id and message of those of the tasks that exist."""
        for some in pieces(ids, _MESSAGES_PER_TRIP):
            found = self._link.execute_many([inspect.read_message(queue, one) for one in some])
            yield from ((one, message) for one, message in zip(some, found, strict=True) if message)

    def _stored_many(self, queue: str, ids: Sequence[str]) -> builtins.list[Stored]:
        """Those of the tasks that exist."""
        found: builtins.list[Stored] = []
        for some in pieces(ids, _TASKS_PER_TRIP):
            tasks = self._link.execute_many([inspect.read_task(queue, one) for one in some])
            found += [task for task in tasks if task is not None]
        return found


def pieces(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yield *items* in pieces of at most *size*."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
