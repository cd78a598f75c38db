"""
Wait for the end of a task without asking again and again: Redis tells when its hash changes.

Uses CLIENT TRACKING (Redis docs: "Client-side caching") on a connection that lives as long as the
wait. On a cluster, or where tracking is refused, the task is looked at after short pauses instead.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from msgspec import Struct

from qd import jsoncodec
from qd.broker.async_link import AsyncLink
from qd.broker.connect import open_async_link, open_node_link
from qd.broker.endpoint import Endpoint, Topology
from qd.durations import format_duration
from qd.errors import BrokerRefused, DecodeError, PayloadError, TaskFailed, TimedOut, UsageError
from qd.protocol import codec
from qd.protocol.ops import inspect
from qd.protocol.ops.inspect import Stored
from qd.protocol.progress import Progress
from qd.protocol.state import TaskState

T = TypeVar("T")

_TRACKING = ("CLIENT", "TRACKING", "ON")
_SAFETY = 10.0
"""Seconds after which the task is looked at all the same: the connection may be dead."""

_FIRST_PAUSE = 0.02
_LAST_PAUSE = 0.5
"""Seconds between two looks where nobody tells of changes."""


class TaskEnd(Struct, frozen=True):
    """
    How a task ended.

    `state` is completed, archived, or None: gone, so it succeeded without retention, or was deleted.
    `error`: of the last failed attempt. `result`: the bytes the handler left, if any.
    """

    id: str
    queue: str
    state: TaskState | None
    error: str = ""
    result: bytes | None = None

    def value(self) -> Any:
        """
        Return the result, read as JSON; None if there is none.

        Raises:
            TaskFailed: The task is archived; the message has its last error.
            PayloadError: The result is no JSON; take the bytes.
        """
        if self.state is TaskState.ARCHIVED:
            raise TaskFailed(f"task {self.id} in {self.queue} is archived: {self.error}")
        if self.result is None:
            return None
        try:
            return jsoncodec.loads(self.result)
        except ValueError as error:
            raise PayloadError(f"the result of task {self.id} is no JSON: {error}") from error


OnChange = Callable[[Stored], None]
OpenEndpoint = Callable[[], Endpoint]


class Waiting:
    """Waits for tasks at one endpoint; for callers with an event loop, and without."""

    def __init__(self, endpoint: OpenEndpoint) -> None:
        self._endpoint = endpoint

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint()

    def blocking(self, work: Coroutine[Any, Any, T], instead: str) -> T:
        """Wait for *work* in synchronous code; raises UsageError, naming *instead*, on a thread that runs a loop."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(work)
        work.close()
        raise UsageError("waiting here would block the event loop", hint=f"Use `{instead}`.")

    def wait(self, queue: str, task_id: str, timeout: float) -> TaskEnd:
        """`wait_for_end` for synchronous code; raises UsageError on a thread that runs a loop."""
        return self.blocking(self.await_end(queue, task_id, timeout), "await info.await_end(...)")

    async def await_end(self, queue: str, task_id: str, timeout: float) -> TaskEnd:  # noqa: ASYNC109 - see below
        """See `wait_for_end`."""
        return await wait_for_end(self._endpoint(), queue, task_id, timeout=timeout)

    def progress(self, queue: str, task_id: str) -> Progress | None:
        """`aprogress` for synchronous code; raises UsageError on a thread that runs a loop."""
        return self.blocking(self.aprogress(queue, task_id), "await info.aprogress()")

    async def aprogress(self, queue: str, task_id: str) -> Progress | None:
        """How far a task says it is; None if it says nothing, or is gone."""
        link = open_async_link(self._endpoint())
        try:
            stored = await link.execute(inspect.read_task(queue, task_id))
            return None if stored is None else stored.progress
        finally:
            await link.close()


async def wait_for_end(
    endpoint: Endpoint,
    queue: str,
    task_id: str,
    *,
    timeout: float,  # noqa: ASYNC109 - what is raised then says more than a bare TimeoutError
    on_change: OnChange = lambda _: None,
) -> TaskEnd:
    """
    Return how a task ends. *on_change* is told of it first as it is now, then after each change.

    Raises:
        TimedOut: It has not ended within *timeout* seconds; it goes on all the same.
        BrokerError: Redis went away, or refuses.
    """
    state = ""

    async def look(link: AsyncLink) -> TaskEnd | None:
        nonlocal state
        stored = await link.execute(inspect.read_task(queue, task_id))
        end = _end(queue, task_id, stored)
        if stored is not None:
            state = stored.state
            on_change(stored)
        return end

    try:
        return await until(endpoint, look, timeout=timeout)
    except TimeoutError:
        raise TimedOut(
            f"task {task_id} is still {state} after {format_duration(timeout)}",
            hint=f"It goes on. Look at it with `qd task show {task_id}`, or wait longer.",
        ) from None


async def until(
    endpoint: Endpoint,
    look: Callable[[AsyncLink], Awaitable[T | None]],
    *,
    timeout: float,  # noqa: ASYNC109 - the caller says what has not come
) -> T:
    """
    Return what *look* finds as soon as that is not None. It reads, and is called again when that changes.

    Raises:
        TimeoutError: It found nothing within *timeout* seconds.
        BrokerError: Redis went away, or refuses.
    """
    changed = asyncio.Event()
    link, tracking = await _listening_link(endpoint, changed)
    try:
        async with asyncio.timeout(timeout):
            pause = _FIRST_PAUSE
            while True:
                changed.clear()
                found = await look(link)
                if found is not None:
                    return found
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_SAFETY if tracking else pause):
                        await changed.wait()
                pause = min(pause * 1.5, _LAST_PAUSE)
    finally:
        await link.close()


async def _listening_link(endpoint: Endpoint, changed: asyncio.Event) -> tuple[AsyncLink, bool]:
    if endpoint.topology is not Topology.CLUSTER:
        link = open_node_link(
            endpoint,
            greeting=[_TRACKING],
            on_push=lambda _: changed.set(),
            # The next look dials again, and is told of changes on the new connection.
            on_lost=changed.set,
        )
        try:
            await link.connect()
        except BrokerRefused:
            await link.close()
        else:
            return link, True
    return open_async_link(endpoint), False


def _end(queue: str, task_id: str, stored: Stored | None) -> TaskEnd | None:
    if stored is None:
        return TaskEnd(task_id, queue, None)
    if stored.state not in (TaskState.COMPLETED, TaskState.ARCHIVED):
        return None
    try:
        error = codec.decode_task(stored.message).terms.error
    except DecodeError as unreadable:
        error = str(unreadable)
    return TaskEnd(task_id, queue, TaskState(stored.state), error, stored.result)
