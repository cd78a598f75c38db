"""What a running handler may know and do: one value per run."""

from __future__ import annotations

import inspect
import logging
import uuid
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, TypeVar

from qd import jsoncodec
from qd.durations import seconds
from qd.errors import LeaseLost, TaskCancelled, TaskTimeout
from qd.handlers.once import Effect, read
from qd.handlers.options import Duration, checked_headers
from qd.protocol import polling
from qd.protocol.flow import place_of
from qd.protocol.message import TaskMessage
from qd.protocol.op import Op
from qd.protocol.progress import Progress, checked

T = TypeVar("T")

# In these cases a side effect was broken off, and may have happened or not.
_BROKEN_OFF = (TaskTimeout, TaskCancelled, LeaseLost)

logger = logging.getLogger("qd.task")


class Backing(Protocol):
    """What a context needs of the worker that runs its handler."""

    queue_prefix: str
    once_keep: float

    async def execute(self, op: Op[T]) -> T:
        """Carry out a step on Redis."""

    def blocking(self, work: Coroutine[Any, Any, T], instead: str) -> T:
        """Wait for *work* in a handler's thread; *instead* is what to use on the event loop."""

    async def write_result(self, context: Context, result: bytes) -> None:
        """Store a result under the lease; raises LeaseLost."""

    def progressed(self, context: Context) -> None:
        """Write the progress of this run soon; may be called from any thread."""


class Context:
    """
    The run of one task, as its handler sees it.

    `state` is what the application's lifespan hook made for this worker process.
    """

    __slots__ = (
        "_backing",
        "_message",
        "_progress",
        "_run",
        "cancelled",
        "carried",
        "deadline_at",
        "has_news",
        "state",
    )

    def __init__(
        self,
        message: TaskMessage,
        deadline_at: float,
        backing: Backing,
        state: Mapping[str, Any],
    ) -> None:
        self._message = message
        self._backing = backing
        self._run = ""
        self._progress: Progress | None = None
        self.has_news = False
        self.deadline_at = deadline_at
        self.state = state
        self.cancelled = False
        """True once the run should end: cancelled by somebody, or out of time."""
        self.carried: dict[str, str] | None = None

    @property
    def task_id(self) -> str:
        return self._message.id

    @property
    def task_type(self) -> str:
        return self._message.type

    @property
    def queue(self) -> str:
        return self._message.terms.queue

    @property
    def retried(self) -> int:
        """Retries used up so far; 0 in the first run."""
        return self._message.terms.retried

    @property
    def max_retry(self) -> int:
        return self._message.terms.max_retry

    @property
    def attempt(self) -> int:
        """Which run this is, counted from 1."""
        return self._message.terms.retried + 1

    @property
    def look(self) -> int:
        """Which look of a poll this is, counted from 1; the retry of a failed one has its number."""
        said = polling.read(self._message.terms.headers)
        return 1 if said is None else said.looks + 1

    @property
    def is_last_attempt(self) -> bool:
        return self._message.terms.retried >= self._message.terms.max_retry

    @property
    def last_error(self) -> str:
        """The error of the run before; empty in the first."""
        return self._message.terms.error

    @property
    def headers(self) -> Mapping[str, str]:
        return dict(self._message.terms.headers)

    def carry(self, name: str, value: str) -> None:
        """
        Add a header that the task has in its next run, if it is retried or snoozed.

        For what one attempt has to tell the next, such as how far it got; it replaces a header of the
        same name. Keep it small: it is a part of the task's message.

        Raises:
            UsageError: *name* or *value* is no text, or has no UTF-8 form.
        """
        self.carried = {**(self.carried or {}), **checked_headers({name: value})}

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """
        Say how far this run is: *done* of *total*, and a few words (200 characters are kept).

        For handlers of both kinds. It costs a microsecond and never waits, so a loop may say it in
        every round: it is stored at most twice a second, and once more at the end. The last one stays
        with the task as long as the task does.

        Raises:
            UsageError: *done* or *total* is no number.
        """
        self._progress = checked(done, total, note)
        if not self.has_news:
            self.has_news = True
            self._backing.progressed(self)

    def take_progress(self) -> Progress | None:
        """For the worker: what is to be written."""
        # In this order: what a thread says meanwhile is written the next time.
        self.has_news = False
        return self._progress

    @property
    def deadline(self) -> datetime:
        """The moment at which this run is out of time."""
        return datetime.fromtimestamp(self.deadline_at, UTC)

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that puts id, type and queue of the task on every line."""
        return logging.LoggerAdapter(
            logger,
            {"task_id": self.task_id, "task_type": self.task_type, "queue": self.queue},
        )

    async def write_result(self, result: Any) -> None:
        """
        Store *result* with the task now, for others to see; the last one written counts.

        Bytes are stored as they are, anything else as JSON. Kept after the end only if the task
        has a retention.

        Raises:
            LeaseLost: The task is another worker's by now.
        """
        await self._backing.write_result(self, as_bytes(result))

    def write_result_now(self, result: Any) -> None:
        """The same for synchronous handlers."""
        work = self._backing.write_result(self, as_bytes(result))
        self._backing.blocking(work, "await ctx.write_result(...)")

    async def results(self) -> list[Any]:
        """
        Return what the links directly before this one have left, in their order; see `qd.chain`.

        What is JSON is read as such, other bytes are given as they are, and None for a link that left
        nothing. Empty for the first link, and for tasks of no flow. Read from Redis at each call.

        Raises:
            FlowNotFound: The flow was over long ago, and is forgotten.
            BrokerError: Redis went away, or refuses.
        """
        place = place_of(self._message)
        if place is None:
            return []
        from qd.handlers.results import results_before

        return await results_before(place, self._backing.execute)

    def results_now(self) -> list[Any]:
        """`results` for synchronous handlers."""
        return self._backing.blocking(self.results(), "await ctx.results()")

    async def once(
        self,
        key: str,
        function: Callable[[], Any],
        *,
        keep: Duration | None = None,
        doubt: Literal["run", "raise"] = "run",
    ) -> Any:
        """
        Run *function* unless it was done under this *key* before; return what it gave then.

        For effects outside that a second run of the task must not repeat: a charge, a mail. The key
        holds over all tasks and hosts that share Redis and queue prefix, so put ids in it. While one
        call is at it, all others wait for its result.

        The result is kept as JSON for *keep* (`worker.once_keep`, seven days), and comes from there
        in the first run as well; without a JSON form it is None. If *function* raises, nothing has
        happened: the next call runs it again. If its process dies, or the run is broken off, after
        the effect and before the note of it, nobody can know: the next run of the task does it
        again, or raises EffectInDoubt, as *doubt* says.

        Raises:
            EffectInDoubt: See above.
            BrokerError: Redis went away before it began; *function* was not called.
        """
        effect = self._effect(key, keep, doubt)
        begun = await effect.claim()
        if begun.done:
            return read(begun.result)
        try:
            result = function()
            if inspect.isawaitable(result):
                result = await result
        except Exception as error:
            if not isinstance(error, _BROKEN_OFF):
                await effect.drop()
            raise
        return await effect.note(result)

    def once_now(
        self,
        key: str,
        function: Callable[[], Any],
        *,
        keep: Duration | None = None,
        doubt: Literal["run", "raise"] = "run",
    ) -> Any:
        """`once` for synchronous handlers; *function* runs in the handler's thread."""
        effect = self._effect(key, keep, doubt)
        wait, instead = self._backing.blocking, "await ctx.once(...)"
        begun = wait(effect.claim(), instead)
        if begun.done:
            return read(begun.result)
        try:
            result = function()
        except Exception as error:
            if not isinstance(error, _BROKEN_OFF):
                wait(effect.drop(), instead)
            raise
        return wait(effect.note(result), instead)

    def _effect(self, key: str, keep: Duration | None, doubt: str) -> Effect:
        if not self._run:
            self._run = uuid.uuid4().hex
        backing = self._backing
        return Effect(
            key=backing.queue_prefix + key,
            task=f"{self.queue} {self.task_id}",
            run=self._run,
            until=self.deadline_at,
            keep=backing.once_keep if keep is None else seconds(keep),
            again=doubt == "run",
            execute=backing.execute,
        )


def as_bytes(result: Any) -> bytes:
    """Return a result as it is stored: bytes as they are, text as UTF-8, the rest as JSON."""
    if isinstance(result, bytes):
        return result
    return jsoncodec.dumps(result)
