"""What a running handler may know and do: one value per run."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from qd import jsoncodec
from qd.protocol.message import TaskMessage

WriteResult = Callable[[bytes], Awaitable[None]]
WriteResultNow = Callable[[bytes], None]

logger = logging.getLogger("qd.task")


class Context:
    """
    The run of one task, as its handler sees it.

    `state` is what the application's lifespan hook made for this worker process.
    """

    __slots__ = ("_message", "_write", "_write_now", "cancelled", "carried", "deadline_at", "state")

    def __init__(
        self,
        message: TaskMessage,
        deadline_at: float,
        write: WriteResult,
        write_now: WriteResultNow,
        state: Mapping[str, Any],
    ) -> None:
        self._message = message
        self._write = write
        self._write_now = write_now
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
        """
        if self.carried is None:
            self.carried = {}
        self.carried[name] = value

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
        await self._write(as_bytes(result))

    def write_result_now(self, result: Any) -> None:
        """The same for synchronous handlers."""
        self._write_now(as_bytes(result))


def as_bytes(result: Any) -> bytes:
    """Return a result as it is stored: bytes as they are, text as UTF-8, the rest as JSON."""
    if isinstance(result, bytes):
        return result
    return jsoncodec.dumps(result)
