"""What the caller of an enqueue gets back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from qd.errors import UsageError
from qd.protocol.progress import Progress
from qd.protocol.state import TaskState

if TYPE_CHECKING:
    from qd.client.waiting import TaskEnd, Waiting


class TaskInfo(Struct, frozen=True, gc=False):
    """A task that was enqueued. `next_at` is in Unix seconds; None while it waits in a group."""

    id: str
    type: str
    queue: str
    state: TaskState
    next_at: float | None
    waiting: Waiting | None = None
    """How to wait for its end; None for one that is not in Redis."""
    dropped: bool = False
    """True if there was no room for it and the queue's policy is to drop: it is not in Redis."""

    def __repr__(self) -> str:
        names = [name for name in self.__struct_fields__ if name != "waiting"]
        return f"TaskInfo({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    @property
    def next_process_at(self) -> datetime | None:
        return None if self.next_at is None else datetime.fromtimestamp(self.next_at, UTC)

    def wait(self, timeout: float) -> TaskEnd:
        """
        Wait for the end of the task, at most *timeout* seconds. Redis tells of it; nobody polls.

        Raises:
            TimedOut: It has not ended; it goes on all the same.
            BrokerError: Redis went away.
            UsageError: Called on an event loop; use `await_end` there.
        """
        return self._sent().wait(self.queue, self.id, timeout)

    async def await_end(self, timeout: float) -> TaskEnd:  # noqa: ASYNC109 - as in `wait`
        """`wait` for coroutines."""
        return await self._sent().await_end(self.queue, self.id, timeout)

    def result(self, timeout: float) -> Any:
        """
        Wait for the end of the task and return what its handler returned, if it had a retention.

        Raises what `wait` raises, and TaskFailed if the task is dead.
        """
        return self.wait(timeout).value()

    async def aresult(self, timeout: float) -> Any:  # noqa: ASYNC109 - as in `wait`
        """`result` for coroutines."""
        return (await self.await_end(timeout)).value()

    def progress(self) -> Progress | None:
        """
        Return how far the task says it is, now; None if it has said nothing, or is gone.

        Raises:
            UsageError: Called on an event loop; use `aprogress` there.
        """
        return self._sent().progress(self.queue, self.id)

    async def aprogress(self) -> Progress | None:
        """`progress` for coroutines."""
        return await self._sent().aprogress(self.queue, self.id)

    def _sent(self) -> Waiting:
        if self.waiting is None:
            raise UsageError(f"task {self.id} is not in Redis, so that it never ends")
        return self.waiting
