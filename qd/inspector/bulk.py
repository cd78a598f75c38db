"""
Run, archive and delete many tasks: named ones, or all of one state.

In pieces of at most 500 tasks, each piece atomic, so that Redis serves others in between. When it
is interrupted, whole pieces are done and the rest is as it was: call it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from msgspec import Struct, field

from qd.errors import DecodeError, WrongState
from qd.inspector.known import require_queue
from qd.inspector.reading import TaskReader, pieces
from qd.protocol import codec, polling
from qd.protocol.message import TaskMessage
from qd.protocol.ops import inspect, inspect_tasks, tasks
from qd.protocol.ops.inspect import Container, Stored
from qd.protocol.ops.inspect_tasks import BATCH, Rewrite, Verdict
from qd.protocol.ops.tasks import NewTask
from qd.protocol.state import TaskState

_SEARCH = 5_000_000
"""List elements that one script may walk over to find its ids: some 30 ms."""

_RUN_BATCH = 100
"""Tasks with new messages that one script is sent: a millisecond or two."""

_BYTES = 4 * 1024 * 1024
"""Messages that one script may be sent."""

CANNOT = {
    "run": {
        TaskState.PENDING: "is already pending",
        TaskState.ACTIVE: "is already running",
    },
    "archive": {
        TaskState.ACTIVE: "is running and cannot be archived",
        TaskState.ARCHIVED: "is already archived",
    },
    "delete": {
        TaskState.ACTIVE: "is running and cannot be deleted",
    },
}
"""What may not be done to a task in which state, and how to say so."""

HINT_ACTIVE = "`qd task cancel ID` asks its worker to stop it; then try again."

_Act = Callable[[Container, Sequence[str]], list[Verdict]]


class BulkActions(TaskReader):
    """What can be done to many tasks at once."""

    def run_many(
        self,
        queue: str,
        ids: Sequence[str],
        *,
        state: TaskState,
        keep_retries: bool = False,
        payloads: Mapping[str, bytes] | None = None,
    ) -> int:
        """
        Let those of the tasks that are still in *state* run now; return how many that were.

        Their retries are given back, so that a dead task gets all of them again, unless
        *keep_retries*. *payloads* are new ones, by id. For both the message must be readable; others
        are left out.

        Raises:
            QueueNotFound: No such queue.
            WrongState: Pending and running tasks cannot be run; nothing was changed.
        """
        change = Change(keep_retries, payloads or {})
        act = self._run if change.nothing else partial(self._run_changed, change=change)
        return self._many("run", queue, ids, state, act)

    def move_many(
        self,
        queue: str,
        ids: Sequence[str],
        *,
        state: TaskState,
        to: str,
        keep_retries: bool = False,
        payloads: Mapping[str, bytes] | None = None,
    ) -> int:
        """
        Let those of the tasks that are still in *state* run in another queue; return how many.

        Each is enqueued there before it is deleted here: when that is interrupted in between, a task
        is in both, and none is lost. One whose id is in use there stays. Uniqueness locks, which
        belong to a queue, are given up. Else as `run_many`.
        """
        change = Change(keep_retries, payloads or {}, to)
        return self._many("run", queue, ids, state, partial(self._move, change=change))

    def archive_many(self, queue: str, ids: Sequence[str], *, state: TaskState) -> int:
        """
        Dead-letter those of the tasks that are still in *state*; return how many that were.

        Raises:
            QueueNotFound: No such queue.
            WrongState: Running and archived tasks cannot be archived; nothing was changed.
        """
        return self._many("archive", queue, ids, state, self._archive)

    def delete_many(self, queue: str, ids: Sequence[str], *, state: TaskState) -> int:
        """
        Delete those of the tasks that are still in *state*; return how many that were.

        Locks are released. Ids that are listed although their hash is gone count as well.

        Raises:
            QueueNotFound: No such queue.
            WrongState: Running tasks cannot be deleted; nothing was changed.
        """
        return self._many("delete", queue, ids, state, self._delete)

    def run_all(self, queue: str, state: TaskState, group: str | None = None) -> int:
        """
        Let all tasks of a state run now, in their order; return how many that were.

        Retries that are used up stay used up, as in asynq; `run_many` gives them back. Raises as
        `run_many`.
        """
        return self._all("run", queue, state, group, self._run)

    def archive_all(self, queue: str, state: TaskState, group: str | None = None) -> int:
        """
        Dead-letter all tasks of a state; return how many that were.

        The archive keeps the latest 10,000: the oldest beyond are deleted. Raises as `archive_many`.
        """
        return self._all("archive", queue, state, group, self._archive)

    def delete_all(self, queue: str, state: TaskState, group: str | None = None) -> int:
        """Delete all tasks of a state, with their locks; return how many. As `delete_many`."""
        return self._all("delete", queue, state, group, self._delete)

    def _many(self, verb: str, queue: str, ids: Sequence[str], state: TaskState, act: _Act) -> int:
        _refuse(verb, state)
        require_queue(self._link, queue)
        done = 0
        for source, named in self._sources(queue, list(dict.fromkeys(ids)), state):
            size = BATCH
            if source.is_list:
                length = self._link.execute(inspect.count(source))
                size = min(BATCH, max(1, _SEARCH // max(1, length)))
            for some in pieces(named, size):
                done += act(source, some).count(Verdict.DONE)
        return done

    def _sources(
        self, queue: str, ids: Sequence[str], state: TaskState
    ) -> Iterator[tuple[Container, Sequence[str]]]:
        if state is not TaskState.AGGREGATING:
            yield Container(queue, state), ids
            return
        groups: dict[str, list[str]] = {}
        for task in self._stored_many(queue, ids):
            groups.setdefault(task.group, []).append(task.id)
        for group, named in groups.items():
            yield Container(queue, state, group), named

    def _all(self, verb: str, queue: str, state: TaskState, group: str | None, act: _Act) -> int:
        _refuse(verb, state)
        done = 0
        for source in self._containers(queue, state, group):
            # As many as there are now; what comes in meanwhile is not meant.
            left = self._link.execute(inspect.count(source))
            skip = 0
            refused: set[str] = set()
            while left > 0:
                page = self._link.execute(
                    inspect.read_ids(source, offset=skip, limit=min(BATCH, left))
                )
                if not page:
                    break
                # Listed here, but in another state by their hash: passed over from now on.
                fresh = [one for one in page if one not in refused]
                skip += len(page) - len(fresh)
                left -= len(fresh)
                if fresh:
                    verdicts = act(source, fresh)
                    done += verdicts.count(Verdict.DONE)
                    refused.update(
                        one for one, said in zip(fresh, verdicts, strict=True) if said < 0
                    )
        return done

    def _run(self, source: Container, ids: Sequence[str]) -> list[Verdict]:
        return self._send(source, [Rewrite(one) for one in ids])

    def _run_changed(
        self, source: Container, ids: Sequence[str], *, change: Change
    ) -> list[Verdict]:
        verdicts: list[Verdict] = []
        waiting: list[Rewrite] = []
        size = 0
        for task_id, message in self._messages(source.queue, ids):
            try:
                rewrite = change.rewrite(task_id, message)
            except DecodeError:
                continue
            waiting.append(rewrite)
            size += len(rewrite.after)
            if size > _BYTES or len(waiting) >= _RUN_BATCH:
                verdicts += self._send(source, waiting)
                waiting, size = [], 0
        return verdicts + self._send(source, waiting)

    def _move(self, source: Container, ids: Sequence[str], *, change: Change) -> list[Verdict]:
        verdicts: list[Verdict] = []
        for some in pieces(ids, _RUN_BATCH):
            new: list[NewTask] = []
            for task_id, message in self._messages(source.queue, some):
                try:
                    new.append(NewTask(task_id, change.rewrite(task_id, message).after))
                except DecodeError:
                    continue
            if not new:
                continue
            announce = tasks.announce([change.to])
            enqueue = tasks.enqueue(change.to, new, now_ns=self._now_ns())
            _, refused = self._link.execute_many([announce, enqueue])
            moved = [one.id for one, why in zip(new, refused, strict=True) if why is None]
            verdicts += self._delete(source, moved)
        return verdicts

    def _send(self, source: Container, rewrites: Sequence[Rewrite]) -> list[Verdict]:
        verdicts: list[Verdict] = []
        for start in range(0, len(rewrites), _RUN_BATCH):
            some = rewrites[start : start + _RUN_BATCH]
            step = inspect_tasks.run(source, some, now_ns=self._now_ns())
            said = self._link.execute(step)
            verdicts += said
        return verdicts

    def _archive(self, source: Container, ids: Sequence[str]) -> list[Verdict]:
        return self._link.execute(inspect_tasks.archive(source, ids, now=int(self._clock())))

    def _delete(self, source: Container, ids: Sequence[str]) -> list[Verdict]:
        locks: dict[str, str] = {}
        if source.state is TaskState.AGGREGATING:
            locks = {task.id: lock_of(task) for task in self._stored_many(source.queue, ids)}
        return self._link.execute(
            inspect_tasks.delete(source, [(one, locks.get(one, "")) for one in ids])
        )

    def _now_ns(self) -> int:
        return int(self._clock() * 1e9)


class Change(Struct, frozen=True):
    """How a task is to be changed before it runs again; `to` is another queue."""

    keep_retries: bool = False
    payloads: Mapping[str, bytes] = field(default_factory=dict)
    to: str = ""

    @property
    def nothing(self) -> bool:
        """True if messages stay as they are."""
        return self.keep_retries and not self.payloads and not self.to

    def rewrite(self, task_id: str, stored: bytes) -> Rewrite:
        """Return the rewriting of a task; raises DecodeError."""
        message = codec.decode_task(stored)
        terms = message.terms
        if terms.retried and not self.keep_retries:
            terms = replace(terms, retried=0)
        if polling.read(terms.headers) is not None and not self.keep_retries:
            # It looks as long as a new one.
            terms = replace(terms, headers=polling.forget(terms.headers))
        if self.to:
            terms = replace(terms, queue=self.to, unique_key="", group="")
        payload = self.payloads.get(task_id, message.payload)
        if terms is message.terms and payload == message.payload:
            return Rewrite(task_id)
        after = codec.encode_task(TaskMessage(message.type, payload, task_id, terms))
        return Rewrite(task_id, stored, after)


def lock_of(task: Stored) -> str:
    """Return the uniqueness lock of a task. Its hash may not name it: asynq forgets it in groups."""
    if task.unique_key:
        return task.unique_key
    try:
        return codec.decode_task(task.message).terms.unique_key
    except DecodeError:
        return ""


def _refuse(verb: str, state: TaskState) -> None:
    reason = CANNOT[verb].get(state)
    if reason:
        raise WrongState(
            f"Tasks in state {state.value} cannot be named for this: each {reason}.",
            hint=HINT_ACTIVE if state is TaskState.ACTIVE else "Choose another state.",
        )
