"""
The client: enqueue tasks, one or many, from synchronous or asynchronous code.

Both forms send the same operations. An error means that the task was not accepted, with one
exception: after `BrokerUnavailable` it may have been; give a `task_id` to repeat such a call
safely.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from qd import jsoncodec
from qd.broker.async_link import AsyncLink
from qd.broker.link import Link
from qd.client.batcher import Batcher
from qd.client.compose import Composed, Composer
from qd.client.info import TaskInfo
from qd.errors import DuplicateTask, QdError, TaskIdConflict
from qd.handlers.options import NO_OPTIONS, OptionKeywords, TaskOptions
from qd.observability import tally
from qd.policy.outcome import storable
from qd.protocol import codec, constants, names
from qd.protocol.message import TaskMessage, Terms
from qd.protocol.op import Op
from qd.protocol.ops import tasks
from qd.protocol.ops.tasks import Refused
from qd.protocol.state import TaskState

if TYPE_CHECKING:
    from qd.client.waiting import Waiting

DEAD_LETTER_TYPE = "dead_letter"
DEAD_LETTER_QUEUE = "dead_letter"

Headers = Mapping[str, str]
AroundEnqueue = Callable[[str, int], AbstractContextManager[Headers]]
"""Opened around each enqueue, with the task's type and the number of tasks; yields headers for them."""

_UNWRAPPED: AbstractContextManager[None] = nullcontext()
_SEVERAL = "many"

_BATCH = 500
"""Tasks in one script call; more would hold the server for milliseconds."""


@dataclass(frozen=True, slots=True)
class NewEnqueue:
    """One task of `enqueue_many`."""

    type: str
    payload: Any = None
    options: TaskOptions = NO_OPTIONS


class Client:
    """
    Enqueues tasks. Made by `App.client`; safe to share between threads and coroutines.

    *options_of* gives the options that a task type has by itself (decorator, YAML).
    """

    def __init__(
        self,
        composer: Composer,
        *,
        link: Callable[[], Link],
        async_link: Callable[[], AsyncLink],
        options_of: Callable[[str], TaskOptions] = lambda _: NO_OPTIONS,
        around: AroundEnqueue | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        self._composer = composer
        self._open_link = link
        self._open_async_link = async_link
        self._options_of = options_of
        self._around = around
        self._results = partial(results, waiting=waiting)
        self._link: Link | None = None
        self._batchers: dict[asyncio.AbstractEventLoop, Batcher] = {}

    def enqueue(
        self, task_type: str, payload: Any = None, **options: Unpack[OptionKeywords]
    ) -> TaskInfo:
        """
        Enqueue one task.

        *payload*: None is no payload, bytes are taken as they are, anything else becomes JSON.

        Raises:
            DuplicateTask: `unique` was asked for, and another task holds the lock.
            TaskIdConflict: `task_id` was given, and a task with that id exists in some state.
            PayloadTooLarge, PayloadError, InvalidName, UsageError: Nothing was sent.
            BrokerUnavailable: No answer; the task may or may not have been accepted.
            BrokerFull: Redis is at `maxmemory`; the task was not accepted.
        """
        with self._wrapped(task_type) as headers:
            own = _with_headers(TaskOptions.of(**options), headers)
            return _only(self._send([self._compose(task_type, payload, own)]))

    async def aenqueue(
        self, task_type: str, payload: Any = None, **options: Unpack[OptionKeywords]
    ) -> TaskInfo:
        """`enqueue` for coroutines; what many enqueue in one turn of the loop goes out together."""
        with self._wrapped(task_type) as headers:
            own = _with_headers(TaskOptions.of(**options), headers)
            return await self._batches().send(self._compose(task_type, payload, own))

    def enqueue_many(self, new: Sequence[NewEnqueue]) -> list[TaskInfo | QdError]:
        """
        Enqueue many tasks in few round trips; returns an info or an error for each, in order.

        Raises:
            BrokerUnavailable: No answer; a part of the tasks may have been accepted.
        """
        with self._wrapped(_SEVERAL, len(new)) as headers:
            prepared = [self._try_compose(one, headers) for one in new]
            sent = iter(self._send([one for one in prepared if isinstance(one, Composed)]))
        return [next(sent) if isinstance(one, Composed) else one for one in prepared]

    async def aenqueue_many(self, new: Sequence[NewEnqueue]) -> list[TaskInfo | QdError]:
        """`enqueue_many` for coroutines."""
        with self._wrapped(_SEVERAL, len(new)) as headers:
            prepared = [self._try_compose(one, headers) for one in new]
            composed = [one for one in prepared if isinstance(one, Composed)]
            sent = iter(await self._batches().send_many(composed))
        return [next(sent) if isinstance(one, Composed) else one for one in prepared]

    def send_to_dead_letter(self, task_id: str, payload: Any, reason: str) -> TaskInfo:
        """
        Put something straight into the dead letters of the queue `dead_letter`, for seven days.

        The stored payload is `{"task_id", "payload", "reason", "failed_at"}`.

        Raises:
            TaskIdConflict: A dead letter with this id exists.
            PayloadTooLarge, PayloadError, InvalidName: Nothing was sent.
        """
        now = time.time()
        queue = names.check_queue(self._composer.stored(DEAD_LETTER_QUEUE))
        reason = storable(reason)
        envelope = self._composer.encode_payload(
            DEAD_LETTER_TYPE,
            {
                "task_id": task_id,
                "payload": _readable(payload),
                "reason": reason,
                "failed_at": datetime.fromtimestamp(now, UTC),
            },
        )
        terms = Terms(
            queue=queue,
            error=reason,
            last_failed_at=int(now),
            timeout=constants.DEFAULT_TIMEOUT,
            retention=constants.DEAD_LETTER_KEEP,
        )
        message = TaskMessage(DEAD_LETTER_TYPE, envelope or b"", names.check_id(task_id), terms)
        step = tasks.dead_letter(queue, task_id, codec.encode_task(message), now=int(now))
        stored = self._sync_link().execute_many([tasks.announce([queue]), step])[1]
        if not stored:
            raise TaskIdConflict(
                f"a dead letter with id {task_id!r} exists in queue {queue}",
                holder=task_id,
                state=TaskState.ARCHIVED,
            )
        return TaskInfo(task_id, DEAD_LETTER_TYPE, queue, TaskState.ARCHIVED, None)

    def close(self) -> None:
        """Close the connections of synchronous calls."""
        if self._link is not None:
            self._link.close()

    async def aclose(self) -> None:
        """Close the connection of asynchronous calls from this event loop."""
        batcher = self._batchers.pop(asyncio.get_running_loop(), None)
        if batcher is not None:
            await batcher.close()

    def _compose(self, task_type: str, payload: Any, options: TaskOptions) -> Composed:
        options = options.over(self._options_of(task_type))
        return self._composer.compose(task_type, payload, options, now=time.time())

    def _wrapped(self, task_type: str, count: int = 1) -> AbstractContextManager[Headers | None]:
        return _UNWRAPPED if self._around is None else self._around(task_type, count)

    def _try_compose(self, new: NewEnqueue, headers: Headers | None) -> Composed | QdError:
        try:
            return self._compose(new.type, new.payload, _with_headers(new.options, headers))
        except QdError as error:
            return error

    def _sync_link(self) -> Link:
        if self._link is None:
            self._link = self._open_link()
        return self._link

    def _batches(self) -> Batcher:
        loop = asyncio.get_running_loop()
        batcher = self._batchers.get(loop)
        if batcher is None:
            for ended in [one for one in list(self._batchers) if one.is_closed()]:
                self._batchers.pop(ended, None)
            batcher = self._batchers[loop] = Batcher(
                loop, self._open_async_link(), steps, self._results
            )
        return batcher

    def _send(self, composed: Sequence[Composed]) -> list[TaskInfo | QdError]:
        out: list[TaskInfo | QdError] = []
        link = self._sync_link()
        for start in range(0, len(composed), _BATCH):
            part = composed[start : start + _BATCH]
            ops, order = steps(part, now_ns=time.time_ns())
            out += self._results(part, order, link.execute_many(ops)[1:])
        return out


def _with_headers(options: TaskOptions, headers: Headers | None) -> TaskOptions:
    """The caller's own headers win."""
    if not headers:
        return options
    return replace(options, headers={**headers, **(options.headers or {})})


def steps(composed: Sequence[Composed], *, now_ns: int) -> tuple[list[Op[Any]], list[list[int]]]:
    """
    Return the operations that take tasks in, and which tasks each of them carries.

    The first operation makes the queues known; it has no tasks.
    """
    groups: dict[tuple[str, TaskState], list[int]] = {}
    for index, one in enumerate(composed):
        groups.setdefault((one.queue, one.state), []).append(index)
    ops: list[Op[Any]] = [tasks.announce(sorted({queue for queue, _ in groups}))]
    for (queue, state), members in groups.items():
        new = [composed[index].new for index in members]
        if state is TaskState.PENDING:
            ops.append(tasks.enqueue(queue, new, now_ns=now_ns))
        elif state is TaskState.SCHEDULED:
            ops.append(tasks.schedule(queue, new))
        else:
            ops.append(tasks.add_to_group(queue, new, now=now_ns // 1_000_000_000))
    return ops, list(groups.values())


def results(
    composed: Sequence[Composed],
    order: list[list[int]],
    answers: Sequence[list[Refused | None] | QdError],
    waiting: Waiting | None = None,
) -> list[TaskInfo | QdError]:
    """
    Return what became of each task, in the order of *composed*.

    An operation that failed stands as its error among the *answers*, for all of its tasks.
    """
    out: dict[int, TaskInfo | QdError] = {}
    for members, answer in zip(order, answers, strict=True):
        if isinstance(answer, QdError):
            out |= dict.fromkeys(members, answer)
            continue
        for index, refused in zip(members, answer, strict=True):
            out[index] = _result(composed[index], refused, waiting)
    return [out[index] for index in range(len(composed))]


def _result(one: Composed, refused: Refused | None, waiting: Waiting | None) -> TaskInfo | QdError:
    # An id that qd made is in use only because this very task got through before, on a connection
    # that broke before the answer came.
    if refused is None or (refused.state and one.own_id):
        counting = tally.current()
        if counting is not None:
            counting.add(tally.ENQUEUED, one.queue, counting.type_label(one.type))
        return TaskInfo(one.new.id, one.type, one.queue, one.state, one.next_at, waiting)
    if refused.state:
        return TaskIdConflict(
            f"task id {one.new.id!r} is in use in queue {one.queue} (state {refused.state})",
            holder=one.new.id,
            state=refused.state,
            hint=f"See it with `qd task show {one.new.id}`; a completed or archived task "
            "keeps its id until it is removed.",
        )
    return DuplicateTask(
        f"an equal task exists in queue {one.queue}: {one.type} is unique, and "
        f"{refused.holder!r} holds the lock",
        holder=refused.holder,
        hint=f"See it with `qd task show {refused.holder}`.",
    )


def _only(outcomes: Sequence[TaskInfo | QdError]) -> TaskInfo:
    (outcome,) = outcomes
    if isinstance(outcome, QdError):
        raise outcome
    return outcome


def _readable(payload: Any) -> Any:
    if not isinstance(payload, bytes):
        return payload
    try:
        return jsoncodec.loads(payload)
    except ValueError:
        return payload.decode("utf-8", "backslashreplace")


def defaults_from(queue: str, max_retry: int, timeout: float, retention: float) -> TaskOptions:
    """Return the options that hold for every task, from the settings."""
    return TaskOptions(
        queue=queue, max_retry=max_retry, timeout=timeout or None, retention=retention or None
    )
