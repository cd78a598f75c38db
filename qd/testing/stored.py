"""Tasks as they are stored, for tests: the inspector's view with the payload as a value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from qd import jsoncodec
from qd.inspector.inspector import Inspector
from qd.inspector.views import TaskView
from qd.protocol.state import TaskState

# In the order in which a test cares for them.
_STATES = (
    TaskState.PENDING,
    TaskState.SCHEDULED,
    TaskState.RETRY,
    TaskState.AGGREGATING,
    TaskState.ACTIVE,
    TaskState.COMPLETED,
    TaskState.ARCHIVED,
)


@dataclass(frozen=True, repr=False)
class StoredTask:
    """A task in Redis. `view` has all that is known of it, as `app.inspector()` shows it."""

    view: TaskView

    @property
    def id(self) -> str:
        return self.view.id

    @property
    def type(self) -> str:
        return self.view.type

    @property
    def queue(self) -> str:
        return self.view.queue

    @property
    def state(self) -> str:
        """pending, scheduled, retry, aggregating, active, completed or archived."""
        return self.view.state

    @property
    def payload(self) -> Any:
        """What its JSON says; None without a payload, bytes if it is no JSON."""
        return value_of(self.view.payload)

    @property
    def result(self) -> Any:
        """Of a completed task, what its JSON says."""
        return None if self.view.result is None else value_of(self.view.result)

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.view.headers)

    @property
    def next_at(self) -> datetime | None:
        """When a scheduled task, or a retry, is due."""
        return self.view.next_at

    @property
    def retried(self) -> int:
        """Retries used up."""
        return self.view.retried

    @property
    def error(self) -> str:
        """The text of its last error."""
        return self.view.error

    @property
    def deaths(self) -> int:
        """How many worker processes died while they ran it, as far as that is held against it."""
        return self.view.deaths

    def __repr__(self) -> str:
        return f"<{self} ({self.id})>"

    def __str__(self) -> str:
        body = "" if self.payload is None else jsoncodec.dumps(self.payload).decode()
        due = "" if self.next_at is None else f" {self.next_at:%Y-%m-%d %H:%M:%S}"
        error = f" {self.error!r}" if self.error else ""
        return f"{self.type}  {self.queue}  {self.state}{due}{error}  {_short(body)}"


def value_of(raw: bytes) -> Any:
    """What the JSON says; None for nothing, the bytes themselves if they are no JSON."""
    if not raw:
        return None
    try:
        return jsoncodec.loads(raw)
    except ValueError:
        return raw


def all_tasks(inspector: Inspector) -> Iterator[StoredTask]:
    """Yield everything that is stored: queue by queue, state by state, in the order of each."""
    for queue in inspector.queues.names():
        for state in _STATES:
            for view in inspector.tasks.iterate(queue, state):
                yield StoredTask(view)


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:197]}..."
