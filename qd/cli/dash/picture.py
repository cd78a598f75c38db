"""What Redis says about what is on the screen: one look, no more than the page needs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from heapq import nlargest

from qd.cli.dash.state import Act, Page, Row, State, Verb
from qd.errors import NotFound, QdError
from qd.inspector.inspector import Inspector
from qd.inspector.views import QueueView, RunningView, ServerView, TaskView
from qd.protocol.state import TaskState

_LISTED = 200
"""Tasks of a list; nobody scrolls further."""

_FAILED = (TaskState.ARCHIVED, TaskState.RETRY)
_NEWEST = 50


@dataclass(frozen=True)
class Picture:
    """The data of one look. `stale`: it is that of an earlier one; `error`: why, or what is missing."""

    queues: list[QueueView] = field(default_factory=list)
    tasks: list[TaskView] = field(default_factory=list)
    servers: list[ServerView] = field(default_factory=list)
    task: TaskView | None = None
    error: str = ""
    stale: bool = False

    @property
    def running(self) -> list[RunningView]:
        """What the workers say they are running."""
        return [one for server in self.servers for one in server.running]

    def rows(self, page: Page) -> list[Row]:
        """What the cursor can be on."""
        if page is Page.QUEUES:
            return [Row(view.name) for view in self.queues]
        if page is Page.WORKERS:
            return [Row(one.queue, one.task_id) for one in self.running]
        return [Row(view.queue, view.id) for view in self.tasks]


class Looker:
    """Looks at the queues that begin with *prefix*, and acts on what is in them."""

    def __init__(self, inspector: Inspector, prefix: str = "") -> None:
        self._inspector = inspector
        self._prefix = prefix
        self._last, self._last_of = Picture(), State().subject

    def look(self, state: State) -> Picture:
        """
        Return what is there now.

        Never raises for what Redis does or for tasks that are gone: `error` says it. While Redis is
        away it is the last that was seen, so that the cursor stays where it is.
        """
        try:
            self._last, self._last_of = self._look(state), state.subject
        except QdError as error:
            same = self._last_of == state.subject
            kept = self._last if same else Picture(self._last.queues)
            return replace(kept, error=str(error), stale=True)
        return self._last

    def _look(self, state: State) -> Picture:
        queues = self._queues()
        try:
            match state.page:
                case Page.TASKS:
                    tasks = self._inspector.tasks.list(state.queue, state.task_state, limit=_LISTED)
                    return Picture(queues, tasks)
                case Page.TASK if state.task is not None:
                    view = self._inspector.tasks.get(state.task.queue, state.task.task_id)
                    return Picture(queues, task=view)
                case Page.WORKERS:
                    return Picture(queues, servers=self._inspector.servers.list())
                case Page.FAILURES:
                    return Picture(queues, self._failures(queues))
        except NotFound as error:
            return Picture(queues, error=str(error))
        return Picture(queues)

    def act(self, act: Act) -> str:
        """Do what was asked for, and return what to say about it."""
        queue, task_id = act.row.queue, act.row.task_id
        tasks = self._inspector.tasks
        try:
            match act.verb:
                case Verb.PAUSE:
                    return self._pause_or_resume(queue)
                case Verb.RUN:
                    tasks.run(queue, task_id)
                    return f"{task_id} is pending"
                case Verb.ARCHIVE:
                    tasks.archive(queue, task_id)
                    return f"{task_id} is archived"
                case Verb.DELETE:
                    tasks.delete(queue, task_id)
                    return f"{task_id} is deleted"
                case Verb.CANCEL:
                    heard = tasks.cancel(task_id)
                    return f"{task_id}: {heard} workers were told to cancel it"
        except QdError as error:
            return str(error)

    def _queues(self) -> list[QueueView]:
        views = self._inspector.queues.all()
        return [view for view in views if view.name.startswith(self._prefix)]

    def _pause_or_resume(self, queue: str) -> str:
        if self._inspector.queues.info(queue).paused:
            self._inspector.queues.resume(queue)
            return f"{queue} goes on"
        self._inspector.queues.pause(queue, by="qd dash")
        return f"{queue} is paused"

    def _failures(self, queues: list[QueueView]) -> list[TaskView]:
        found = []
        for view in queues:
            for state in _FAILED:
                size = getattr(view, state.value)
                if not size:
                    continue
                offset = max(0, size - _NEWEST) if state is TaskState.ARCHIVED else 0
                found += self._inspector.tasks.list(view.name, state, offset=offset, limit=_NEWEST)
        known = [view for view in found if view.last_failed_at is not None]
        return nlargest(_LISTED, known, key=lambda view: view.last_failed_at)  # type: ignore[arg-type,return-value]
