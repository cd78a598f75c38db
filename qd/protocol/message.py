"""
The messages asynq stores in Redis (internal/proto/asynq.proto), as plain values.

Moments that asynq keeps as protobuf timestamps are integer nanoseconds since 1970 here, because a
datetime cannot hold them exactly; None is Go's zero time, "never". Everything else keeps the unit
of the wire: whole seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import Struct


@dataclass(frozen=True, slots=True)
class Terms:
    """
    All that a task message says beside type, payload and id.

    Tasks enqueued with the same options share one value, which is why it is apart: it is decoded
    and encoded once. `timeout`, `retention` are seconds, `deadline`, `last_failed_at`,
    `completed_at` Unix seconds; 0 means none. `unknown` holds fields of newer versions, unchanged.
    """

    queue: str = "default"
    max_retry: int = 0
    retried: int = 0
    error: str = ""
    timeout: int = 0
    deadline: int = 0
    unique_key: str = ""
    last_failed_at: int = 0
    retention: int = 0
    completed_at: int = 0
    group: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    unknown: bytes = b""
    # Set by the codec: encoding the same terms again costs nothing. For its sake this is a dataclass:
    # a Struct has no fields that do not count when two are compared.
    wire: bytes | None = field(default=None, init=False, repr=False, compare=False)


# There is one for each task: it leaves the garbage collector nothing to do.
class TaskMessage(Struct, gc=False):
    """One task as it is stored in the hash field `msg`."""

    type: str
    payload: bytes
    id: str
    terms: Terms

    @property
    def queue(self) -> str:
        return self.terms.queue


class ServerInfo(Struct, frozen=True):
    """A worker process as asynq's tools list it. asynq calls it a server."""

    host: str
    pid: int
    server_id: str
    concurrency: int
    queues: tuple[tuple[str, int], ...]
    strict_priority: bool
    status: str
    started_ns: int
    active_workers: int


class WorkerInfo(Struct, frozen=True):
    """One running task as asynq's tools list it."""

    host: str
    pid: int
    server_id: str
    task_id: str
    task_type: str
    task_payload: bytes
    queue: str
    started_ns: int
    deadline_ns: int | None


class SchedulerEntry(Struct, frozen=True):
    """One periodic task. `options` are texts in Go's syntax, see `gotext`."""

    id: str
    spec: str
    task_type: str
    task_payload: bytes
    options: tuple[str, ...]
    next_ns: int | None
    prev_ns: int | None


class EnqueueEvent(Struct, frozen=True):
    """One firing of a scheduler entry."""

    task_id: str
    enqueued_ns: int
