"""One task in flight: from the moment it was taken until Redis knows how it ended."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING

from qd.handlers.context import Context
from qd.protocol import keys
from qd.protocol.message import TaskMessage
from qd.protocol.ops.endings import Held

if TYPE_CHECKING:
    from qd.runtime.admission import Gate


class Stop(StrEnum):
    """Why a run is told to end early."""

    TIMEOUT = "timeout"
    CANCEL = "cancel"
    LEASE_LOST = "lease lost"
    PUT_BACK = "put back"


class Run:
    """
    A task under this worker's lease.

    `key` is that of the task in Redis: two queues may hold tasks with the same id. `held` is replaced by
    the heartbeat, in its thread. `stop` is set when the handler is told to end, `ended` when the outcome is decided: a handler
    that is still going on then is ignored.
    """

    __slots__ = (
        "context",
        "deadline_at",
        "deaths",
        "ended",
        "gates",
        "held",
        "key",
        "message",
        "pending_since",
        "queue",
        "started_at",
        "stop",
        "stopped_at",
        "task",
        "thread",
    )

    def __init__(
        self, message: TaskMessage, queue: str, held: Held, deaths: int, pending_since: int = 0
    ) -> None:
        self.message = message
        self.key = keys.task(queue, held.id)
        self.queue = queue
        self.held = held
        self.deaths = deaths
        self.pending_since = pending_since
        self.started_at = 0.0
        self.deadline_at = 0.0
        self.context: Context | None = None
        self.task: asyncio.Task[None] | None = None
        self.thread = 0
        """Identifier of the thread that runs the handler; 0 when none does."""
        self.stop: Stop | None = None
        self.stopped_at = 0.0
        self.ended = False
        self.gates: tuple[Gate, ...] = ()
        """The gates that let it pass, which want to hear of its end."""
