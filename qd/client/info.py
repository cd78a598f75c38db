"""What the caller of an enqueue gets back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from qd.protocol.state import TaskState


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """A task that Redis has accepted. `next_at` is in Unix seconds; None while it waits in a group."""

    id: str
    type: str
    queue: str
    state: TaskState
    next_at: float | None

    @property
    def next_process_at(self) -> datetime | None:
        return None if self.next_at is None else datetime.fromtimestamp(self.next_at, UTC)
