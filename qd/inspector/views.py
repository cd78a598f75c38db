"""
What the inspector returns: plain data, with a stable JSON form (`as_dict()`).

Moments are aware datetimes in UTC (in JSON: ISO 8601 with a Z), durations seconds. Payloads and
results are bytes; in JSON each is three fields, see `values.content`.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import asdict

from qd.inspector.values import as_base64, content, iso, moment
from qd.policy.poll import Polling
from qd.protocol import polling
from qd.protocol.progress import Progress

if TYPE_CHECKING:
    from qd.client.declared import Declared


class TaskView(Struct, frozen=True):
    """
    One task, in whatever state.

    - `next_at`: when a scheduled task or a retry is due; `archived_at`, `expires_at`: since when a
      dead task is kept, until when a completed one is
    - `timeout`, `retention`: seconds, 0 means none; `retried` of `max_retry` retries are used up
    - `orphaned`: it counts as running, but nobody renews its lease; it will be recovered
    - `owner`, `deaths`, `cause`: the worker that runs it, how many workers died while they did, how
    - `waits`: what a scheduled task waits for, if it is not its time: `limit`, the name, the key
    - `progress`: how far its handler has said it is, in this run or the last
    - `missing`: its id is listed, but its message is gone; little more than the id is known
    - `undecodable`: its message cannot be read; `raw` are the bytes, the fields from it are empty
    """

    id: str
    queue: str
    state: str
    type: str = ""
    payload: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    max_retry: int = 0
    retried: int = 0
    error: str = ""
    last_failed_at: datetime | None = None
    timeout: int = 0
    deadline: datetime | None = None
    retention: int = 0
    completed_at: datetime | None = None
    group: str = ""
    unique_key: str = ""
    next_at: datetime | None = None
    archived_at: datetime | None = None
    expires_at: datetime | None = None
    pending_since: datetime | None = None
    result: bytes | None = None
    lease_until: datetime | None = None
    orphaned: bool = False
    owner: str = ""
    deaths: int = 0
    cause: str = ""
    waits: tuple[str, ...] = ()
    progress: Progress | None = None
    missing: bool = False
    undecodable: bool = False
    raw: bytes = b""

    @property
    def polling(self) -> Polling | None:
        """Of a poll that has looked: how often, since when and until when."""
        return polling.read(self.headers)

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": self.type,
            "queue": self.queue,
            "state": self.state,
            **content("payload", self.payload),
            "headers": dict(self.headers),
            "max_retry": self.max_retry,
            "retried": self.retried,
            "error": self.error,
            "last_failed_at": iso(self.last_failed_at),
            "timeout": self.timeout,
            "deadline": iso(self.deadline),
            "retention": self.retention,
            "completed_at": iso(self.completed_at),
            "group": self.group,
            "unique_key": self.unique_key,
            "next_at": iso(self.next_at),
            "archived_at": iso(self.archived_at),
            "expires_at": iso(self.expires_at),
            "pending_since": iso(self.pending_since),
            **content("result", self.result),
            "lease_until": iso(self.lease_until),
            "orphaned": self.orphaned,
            "owner": self.owner,
            "deaths": self.deaths,
            "cause": self.cause,
            "waits_for": list(self.waits),
            "progress": _progress(self.progress),
            "missing": self.missing,
            "undecodable": self.undecodable,
            "raw_base64": as_base64(self.raw) if self.undecodable else None,
        }


def _progress(said: Progress | None) -> dict[str, Any] | None:
    return None if said is None else {**said.as_dict(), "at": iso(moment(said.at))}


class QueueView(Struct, frozen=True):
    """
    One queue at the moment `as_of`.

    - `size`: tasks in all seven states; `orphaned` of the active ones have no live lease
    - `processed`, `failed`: of the present UTC day; processed counts failures as well
    - `paused_by`: empty where it is not known, as when asynq's tools have paused it
    - `pressure`: of a bounded queue ok, warning or critical, when a task last came in or the scheduler
      last looked; empty for others. `refused`, `dropped`: tasks that found no room, ever
    - `latency`: seconds that the next task has been waiting; 0 when none waits
    - `memory`: bytes, estimated; None unless it was asked for
    - `problems`: keys that hold something else than they should, in words
    """

    name: str
    size: int
    pending: int
    active: int
    scheduled: int
    retry: int
    archived: int
    completed: int
    aggregating: int
    groups: int
    orphaned: int
    paused: bool
    paused_at: datetime | None
    paused_by: str
    processed: int
    failed: int
    processed_total: int
    failed_total: int
    pressure: str
    refused: int
    dropped: int
    latency: float
    memory: int | None
    problems: tuple[str, ...]
    as_of: datetime

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {
            "paused_at": iso(self.paused_at),
            "problems": list(self.problems),
            "as_of": iso(self.as_of),
        }


class DayView(Struct, frozen=True):
    """What a queue did on one UTC day. `error_rate` is failed / processed, None for an idle day."""

    day: date
    processed: int
    failed: int

    @property
    def error_rate(self) -> float | None:
        return self.failed / self.processed if self.processed else None

    def as_dict(self) -> dict[str, Any]:
        return {
            "day": self.day.isoformat(),
            "processed": self.processed,
            "failed": self.failed,
            "error_rate": self.error_rate,
        }


class GroupView(Struct, frozen=True):
    """A group and how many tasks wait in it."""

    name: str
    size: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class BreakerView(Struct, frozen=True):
    """
    A breaker for one key (empty: for all), and what goes on there.

    - `state`: closed, open or half-open; `since` then, and open `until`
    - `failures`: in a row; those that opened it, once it is open. `successes`: since it is half-open
    - `trying`: tasks that try whether it works again; `waiting`: tasks in line
    - `runs`, `failed`: of the present window, where a ratio counts
    - `types`, `path`: whose tasks are behind it, and where in a task its key stands
    """

    name: str
    key: str
    state: str
    since: datetime | None
    until: datetime | None
    failures: int
    successes: int
    trying: int
    waiting: int
    runs: int
    failed: int
    types: tuple[str, ...]
    path: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {
            "since": iso(self.since),
            "until": iso(self.until),
            "types": list(self.types),
        }


class LimitView(Struct, frozen=True):
    """
    A limit and what goes on there.

    - `rate` (starts per second), `burst`, `concurrency`: as they hold now, 0 = any; `set_by_hand`
      names those that an operator has set, `configured` has what they were before
    - `running`: tasks with a slot; `waiting`: tasks in line, of the first thousand keys that have any
    """

    name: str
    rate: float
    burst: int
    concurrency: int
    per: str
    key: str
    set_by_hand: tuple[str, ...]
    configured: dict[str, float]
    running: int
    waiting: int
    keys: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class LineView(Struct, frozen=True):
    """The place of a task in the line of a limit; `seconds` until its turn, if there is a rate."""

    ahead: int | None
    running: int
    slots: int
    holders: tuple[str, ...]
    seconds: float


class RunningView(Struct, frozen=True):
    """A task that a worker process says it is running. `deadline` ends the handler."""

    task_id: str
    type: str
    queue: str
    payload: bytes
    started: datetime | None
    deadline: datetime | None
    server_id: str
    host: str
    pid: int

    def as_dict(self) -> dict[str, Any]:
        return {
            "task_id": self.task_id,
            "type": self.type,
            "queue": self.queue,
            **content("payload", self.payload),
            "started": iso(self.started),
            "deadline": iso(self.deadline),
            "server_id": self.server_id,
            "host": self.host,
            "pid": self.pid,
        }


class ServerView(Struct, frozen=True):
    """
    A worker process, as of its last report, at most 10 s ago. asynq calls it a server.

    `status` is new, active, stopped (takes no more tasks) or closed; `queues` has the weights;
    `types` are the patterns it has handlers for, None for a Go server, which does not tell.
    """

    id: str
    host: str
    pid: int
    status: str
    started: datetime | None
    concurrency: int
    active_workers: int
    queues: tuple[tuple[str, int], ...]
    strict_priority: bool
    types: tuple[str, ...] | None
    running: tuple[RunningView, ...]

    def knows(self, task_type: str) -> bool:
        """Tell whether it has a handler for a task type; of a Go server that is assumed."""
        return self.types is None or any(task_type.startswith(one) for one in self.types)

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "host": self.host,
            "pid": self.pid,
            "status": self.status,
            "started": iso(self.started),
            "concurrency": self.concurrency,
            "active_workers": self.active_workers,
            "queues": dict(self.queues),
            "strict_priority": self.strict_priority,
            "types": None if self.types is None else list(self.types),
            "running": [one.as_dict() for one in self.running],
        }


class EntryView(Struct, frozen=True):
    """
    A periodic task of one scheduler. `options` are texts in Go's syntax, such as `Queue("low")`.

    `declared` is what a scheduler of qd says beside; None for Go.
    """

    id: str
    spec: str
    type: str
    payload: bytes
    options: tuple[str, ...]
    next: datetime | None
    prev: datetime | None
    scheduler_id: str
    host: str
    declared: Declared | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "spec": self.spec,
            "type": self.type,
            **content("payload", self.payload),
            "options": list(self.options),
            "next": iso(self.next),
            "prev": iso(self.prev),
            "scheduler_id": self.scheduler_id,
            "host": self.host,
        }


class EventView(Struct, frozen=True):
    """One firing of a scheduler entry."""

    task_id: str
    enqueued_at: datetime | None

    def as_dict(self) -> dict[str, Any]:
        return {"task_id": self.task_id, "enqueued_at": iso(self.enqueued_at)}


class RedisView(Struct, frozen=True):
    """The server behind it all; on a cluster, one of its nodes. Memory in bytes, uptime in seconds."""

    version: str
    mode: str
    uptime: int
    clients: int
    memory: int
    memory_peak: int
    memory_max: int
    eviction: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class OverviewView(Struct, frozen=True):
    """All queues, and their sums: `totals` has the count fields of `QueueView` by name."""

    queues: tuple[QueueView, ...]
    totals: dict[str, int]
    redis: RedisView

    def as_dict(self) -> dict[str, Any]:
        return {
            "queues": [one.as_dict() for one in self.queues],
            "totals": dict(self.totals),
            "redis": self.redis.as_dict(),
        }
