"""
The client: enqueue tasks, one or many, from synchronous or asynchronous code.

Both forms send the same operations. An error means that the task was not accepted, with one
exception: after `BrokerUnavailable` it may have been; give a `task_id` to repeat such a call
safely.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from itertools import tee
from typing import TYPE_CHECKING, Any, Unpack

from msgspec import Struct
from msgspec.structs import replace

from qd import clock, jsoncodec
from qd.broker.async_link import AsyncLink
from qd.broker.link import Link
from qd.client.batch import Batch
from qd.client.batcher import Batcher
from qd.client.compose import Composed, Composer
from qd.client.info import TaskInfo
from qd.errors import QdError, QueueFull, TaskIdConflict, UsageError
from qd.handlers.context import as_bytes
from qd.handlers.options import NO_OPTIONS, OptionKeywords, TaskOptions
from qd.policy.outcome import storable
from qd.protocol import codec, constants, names
from qd.protocol.message import TaskMessage, Terms
from qd.protocol.ops import tasks
from qd.protocol.state import TaskState

if TYPE_CHECKING:
    from qd.client.flow import Flow
    from qd.client.flow_info import FlowInfo
    from qd.client.room import QueueBounds, Room
    from qd.client.starting import NewFlow
    from qd.client.steps import Steps
    from qd.client.waiting import Waiting

DEAD_LETTER_TYPE = "dead_letter"
DEAD_LETTER_QUEUE = "dead_letter"

Headers = Mapping[str, str]
AroundEnqueue = Callable[[str, int], AbstractContextManager[Headers]]
"""Opened around each enqueue, with the task's type and the number of tasks; yields headers for them."""

_UNWRAPPED: AbstractContextManager[None] = nullcontext()
_SEVERAL = "many"

Outcomes = list[TaskInfo | QdError]

_BATCH = 250
"""Tasks in one round trip; the next ones are composed while Redis takes these in."""


class NewEnqueue(Struct, gc=False):
    """One task of `enqueue_many`."""

    type: str
    payload: Any = None
    options: TaskOptions = NO_OPTIONS


class Client:
    """
    Enqueues tasks. Made by `App.client`; safe to share between threads and coroutines.

    *options_of* gives the options that a task type has by itself (decorator, YAML), *may_be_poll* tells
    whether its tasks may be polls.
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
        bounds: QueueBounds | None = None,
        may_be_poll: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._composer = composer
        self._open_link = link
        self._open_async_link = async_link
        self._options_of = options_of
        self._around = around
        self._waiting = waiting
        self._bounds = bounds
        self._may_be_poll = may_be_poll
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
            QueueFull: The queue has no room (`backpressure`); the error has the numbers. If the policy
                is to drop, the task that is returned is `dropped`.
        """
        with self._wrapped(task_type) as headers:
            own = _with_headers(TaskOptions.of(**options), headers)
            composed = [self._compose(task_type, payload, own)]
            batch = Batch(composed, now_ns=clock.now_ns(), bounds=self._bounds)
            outcomes = batch.outcomes(self._sync_link().execute_many(batch.ops), self._waiting)
            if self._bounds is not None and (room := self._room(batch, outcomes)) is not None:
                outcomes = self._wait_for(room)
            return _only(outcomes)

    async def aenqueue(
        self, task_type: str, payload: Any = None, **options: Unpack[OptionKeywords]
    ) -> TaskInfo:
        """`enqueue` for coroutines; what many enqueue in one turn of the loop goes out together."""
        with self._wrapped(task_type) as headers:
            own = _with_headers(TaskOptions.of(**options), headers)
            composed = self._compose(task_type, payload, own)
            try:
                return await self._batcher().send(composed)
            except QueueFull as full:
                room = self._room(self._batch([composed]), [full])
                if room is None:
                    raise
                return _only(await self._await(room))

    def enqueue_many(self, new: Sequence[NewEnqueue]) -> list[TaskInfo | QdError]:
        """
        Enqueue many tasks in few round trips; returns an info or an error for each, in order.

        Raises:
            BrokerError: No answer, or Redis takes in nothing; a part may have been accepted.
        """
        out: Outcomes = []
        rooms: list[tuple[int, Room]] = []
        with self._wrapped_all(new) as headers:
            batches, sent = tee(self._batches_of(new, headers))
            replies = self._sync_link().execute_in_turn(batch.ops for batch in batches)
            for batch, answers in zip(sent, replies, strict=True):
                outcomes = batch.outcomes(answers, self._waiting)
                if (room := self._room(batch, outcomes)) is not None:
                    rooms.append((len(out), room))
                out += outcomes
            # Only now is the link free for other things.
            for start, room in rooms:
                out[start : start + len(room.outcomes)] = self._wait_for(room)
        return out

    async def aenqueue_many(self, new: Sequence[NewEnqueue]) -> list[TaskInfo | QdError]:
        """`enqueue_many` for coroutines."""
        out: list[TaskInfo | QdError] = []
        with self._wrapped_all(new) as headers:
            for batch in self._batches_of(new, headers):
                outcomes = await self._batcher().send_batch(batch)
                room = self._room(batch, outcomes)
                out += outcomes if room is None else await self._await(room)
        return out

    def enqueue_flow(self, flow: Flow, flow_id: str | None = None) -> FlowInfo:
        """See `Flow.enqueue`."""
        from qd.client.flow_info import FlowInfo
        from qd.client.starting import begin
        from qd.client.steps import carry_out_now

        new = self._new_flow(flow, flow_id)
        carry_out_now(self._sync_link(), begin(new, self._bounds))
        return FlowInfo(new.id, self._for_ends())

    async def aenqueue_flow(self, flow: Flow, flow_id: str | None = None) -> FlowInfo:
        """See `Flow.aenqueue`."""
        from qd.client.flow_info import FlowInfo
        from qd.client.starting import begin
        from qd.client.steps import carry_out

        new = self._new_flow(flow, flow_id)
        await carry_out(self._batcher().link, begin(new, self._bounds))
        return FlowInfo(new.id, self._for_ends())

    def send_to_dead_letter(self, task_id: str, payload: Any, reason: str) -> TaskInfo:
        """
        Put something straight into the dead letters of the queue `dead_letter`, for seven days.

        The stored payload is `{"task_id", "payload", "reason", "failed_at"}`.

        Raises:
            TaskIdConflict: A dead letter with this id exists.
            PayloadTooLarge, PayloadError, InvalidName: Nothing was sent.
        """
        now = clock.now()
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

    def poll_done(self, task_id: str, result: Any = None, queue: str | None = None) -> bool:
        """
        End a poll now, as done, with *result*: what a webhook calls when it hears before the next look.

        A poll that waits ends at once, in one step, as if its handler had returned *result* (bytes as they
        are, anything else as JSON; kept if the task has a retention). If a look is going on, it is not
        stopped, but ends the poll with this result whatever it says; if its process dies first, the next
        look does. Anybody may call it, and repeat it: the first one counts. *queue* saves a search
        through all queues.

        Returns:
            True if it has ended; False if it ends with the look that is going on.

        Raises:
            TaskNotFound: There is none: it has ended without a retention, or the id is wrong.
            WrongState: It is archived or in a group, this program knows its type as no poll, or several
                queues have this id. Nothing was changed.
            BrokerError: No answer; call again.
        """
        from qd.client.steps import carry_out_now

        return carry_out_now(self._sync_link(), self._poll_steps(task_id, result, queue))

    async def apoll_done(self, task_id: str, result: Any = None, queue: str | None = None) -> bool:
        """`poll_done` for coroutines."""
        from qd.client.steps import carry_out

        return await carry_out(self._batcher().link, self._poll_steps(task_id, result, queue))

    def _poll_steps(self, task_id: str, result: Any, queue: str | None) -> Steps[bool]:
        from qd.client.poll_done import steps

        stored = self._composer.stored
        return steps(
            task_id,
            None if result is None else as_bytes(result),
            queue=None if queue is None else stored(queue),
            prefix=stored(""),
            may_be_poll=self._may_be_poll,
            clock=clock.now,
        )

    def close(self) -> None:
        """Close the connections of synchronous calls."""
        if self._link is not None:
            self._link.close()

    async def aclose(self) -> None:
        """Close the connection of asynchronous calls from this event loop."""
        batcher = self._batchers.pop(asyncio.get_running_loop(), None)
        if batcher is not None:
            await batcher.close()

    def _new_flow(self, flow: Flow, flow_id: str | None) -> NewFlow:
        from qd.client.starting import compose

        with self._wrapped(_SEVERAL, sum(1 for _ in flow.links())) as headers:
            return compose(
                flow,
                self._composer,
                flow_id=flow_id,
                options_of=self._options_of,
                headers=headers or {},
            )

    def _for_ends(self) -> Waiting:
        if self._waiting is None:
            raise UsageError("this client does not know how to wait for what it enqueues")
        return self._waiting

    def _compose(self, task_type: str, payload: Any, options: TaskOptions) -> Composed:
        options = options.over(self._options_of(task_type))
        return self._composer.compose(task_type, payload, options, now=clock.now())

    def _wrapped(self, task_type: str, count: int = 1) -> AbstractContextManager[Headers | None]:
        return _UNWRAPPED if self._around is None else self._around(task_type, count)

    def _wrapped_all(self, new: Sequence[NewEnqueue]) -> AbstractContextManager[Headers | None]:
        if self._around is None:
            return _UNWRAPPED
        types = {one.type for one in new}
        return self._around(types.pop() if len(types) == 1 else _SEVERAL, len(new))

    def _batches_of(self, new: Sequence[NewEnqueue], headers: Headers | None) -> Iterator[Batch]:
        for start in range(0, len(new), _BATCH):
            part = [self._try_compose(one, headers) for one in new[start : start + _BATCH]]
            yield self._batch(part)

    def _batch(self, composed: Sequence[Composed | QdError], *, again: bool = True) -> Batch:
        return Batch(composed, now_ns=clock.now_ns(), bounds=self._bounds, again=again)

    def _wait_for(self, room: Room) -> Outcomes:
        for pause, places, again in room.tries():
            time.sleep(pause)
            part = self._batch([room.task(place) for place in places], again=again)
            answers = self._sync_link().execute_many(part.ops)
            room.note(places, part.outcomes(answers, self._waiting))
        return room.outcomes

    async def _await(self, room: Room) -> Outcomes:
        for pause, places, again in room.tries():
            await asyncio.sleep(pause)
            part = self._batch([room.task(place) for place in places], again=again)
            room.note(places, await self._batcher().send_batch(part))
        return room.outcomes

    def _room(self, batch: Batch, outcomes: Outcomes) -> Room | None:
        """What there is to wait for, if some tasks found no room and may wait."""
        if self._bounds is None:
            return None
        from qd.client.room import Room

        room = Room(self._bounds, batch.tasks, outcomes)
        return room if room.awaited else None

    def _try_compose(self, new: NewEnqueue, headers: Headers | None) -> Composed | QdError:
        options = _with_headers(new.options, headers) if headers else new.options
        try:
            return self._compose(new.type, new.payload, options)
        except QdError as error:
            return error

    def _sync_link(self) -> Link:
        if self._link is None:
            self._link = self._open_link()
        return self._link

    def _batcher(self) -> Batcher:
        loop = asyncio.get_running_loop()
        batcher = self._batchers.get(loop)
        if batcher is None:
            for ended in [one for one in list(self._batchers) if one.is_closed()]:
                self._batchers.pop(ended, None)
            batcher = self._batchers[loop] = Batcher(
                loop, self._open_async_link(), self._waiting, self._bounds
            )
        return batcher


def _with_headers(options: TaskOptions, headers: Headers | None) -> TaskOptions:
    """The caller's own headers win."""
    if not headers:
        return options
    return replace(options, headers={**headers, **(options.headers or {})})


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
