"""
Every Redis key, one function each: asynq's by asynq's names, qd's own under `qd:`.

All keys of one queue carry the hash tag `{queue}` and so live in one slot of a cluster.
"""

from __future__ import annotations

import hashlib

# asynq's global keys: each in a slot of its own.
QUEUES = "asynq:queues"
SERVERS = "asynq:servers"
WORKERS = "asynq:workers"
SCHEDULERS = "asynq:schedulers"
TYPES = "qd:types"
BIRTHMARKS = "qd:birthmarks"
CANCEL_CHANNEL = "asynq:cancel"
BREAKERS = "qd:breakers"
"""qd: the breakers that workers go by, by name, as JSON."""

LIMITS = "qd:limits"
"""qd: the limits that workers go by, by name, as JSON."""

CLOCK = "qd:clock"
"""qd: what a test kit says the time is, in Unix seconds."""

ORDER_MARK = "qd:order:"
"""Begins a message in that channel that is no task id, but an order (see `orders`)."""


BY_QUEUE = "asynq:{"
"""How the keys of every queue begin, before its name."""


def prefix(queue: str) -> str:
    return f"asynq:{{{queue}}}:"


def own_prefix(queue: str) -> str:
    """qd: how its own keys of one queue begin."""
    return f"qd:{{{queue}}}:"


def aside_prefix(queue: str) -> str:
    """qd: what stands before the name of a key that was in a queue's way and is kept."""
    return f"qd:{{{queue}}}:set-aside:"


def task_prefix(queue: str) -> str:
    """What stands before a task's id in the key of its hash."""
    return f"asynq:{{{queue}}}:t:"


def task(queue: str, task_id: str) -> str:
    return f"asynq:{{{queue}}}:t:{task_id}"


def pending(queue: str) -> str:
    return f"asynq:{{{queue}}}:pending"


def active(queue: str) -> str:
    return f"asynq:{{{queue}}}:active"


def lease(queue: str) -> str:
    return f"asynq:{{{queue}}}:lease"


def scheduled(queue: str) -> str:
    return f"asynq:{{{queue}}}:scheduled"


def retry(queue: str) -> str:
    return f"asynq:{{{queue}}}:retry"


def archived(queue: str) -> str:
    return f"asynq:{{{queue}}}:archived"


def completed(queue: str) -> str:
    return f"asynq:{{{queue}}}:completed"


def paused(queue: str) -> str:
    return f"asynq:{{{queue}}}:paused"


def paused_by(queue: str) -> str:
    """qd: who paused a queue, behind the moment that stands in `paused`."""
    return f"qd:{{{queue}}}:paused_by"


def pressure(queue: str) -> str:
    """qd: how full a bounded queue is, and how many tasks found no room."""
    return f"qd:{{{queue}}}:pressure"


def processed(queue: str) -> str:
    return f"asynq:{{{queue}}}:processed"


def failed(queue: str) -> str:
    return f"asynq:{{{queue}}}:failed"


def processed_on(queue: str, day: str) -> str:
    """Counter of one UTC day, written YYYY-MM-DD."""
    return f"asynq:{{{queue}}}:processed:{day}"


def failed_on(queue: str, day: str) -> str:
    return f"asynq:{{{queue}}}:failed:{day}"


def groups(queue: str) -> str:
    return f"asynq:{{{queue}}}:groups"


def group_prefix(queue: str) -> str:
    return f"asynq:{{{queue}}}:g:"


def group(queue: str, name: str) -> str:
    return f"asynq:{{{queue}}}:g:{name}"


def aggregation_sets(queue: str) -> str:
    return f"asynq:{{{queue}}}:aggregation_sets"


def aggregation_set(queue: str, name: str, set_id: str) -> str:
    return f"asynq:{{{queue}}}:g:{name}:{set_id}"


def unique(queue: str, task_type: str, payload: bytes | None) -> str:
    """
    The uniqueness lock of a task: type and md5 of the payload (asynq.go, base.go UniqueKey).

    No payload (None) and an empty one (b"") have different locks, as in Go.
    """
    digest = "" if payload is None else hashlib.md5(payload, usedforsecurity=False).hexdigest()
    return f"asynq:{{{queue}}}:unique:{task_type}:{digest}"


def unique_prefix(queue: str) -> str:
    return f"asynq:{{{queue}}}:unique:"


def server(host: str, pid: int, server_id: str) -> str:
    return f"asynq:servers:{{{host}:{pid}:{server_id}}}"


def workers(host: str, pid: int, server_id: str) -> str:
    return f"asynq:workers:{{{host}:{pid}:{server_id}}}"


def types(host: str, pid: int, server_id: str) -> str:
    """qd: the task types a worker process has handlers for."""
    return f"{TYPES}:{{{host}:{pid}:{server_id}}}"


def birthmark(host: str, pid: int, server_id: str) -> str:
    """qd: what proves to others of its machine that a worker process is dead."""
    return f"{BIRTHMARKS}:{{{host}:{pid}:{server_id}}}"


def scheduler(scheduler_id: str) -> str:
    return f"asynq:schedulers:{{{scheduler_id}}}"


def scheduler_history(entry_id: str) -> str:
    return f"asynq:scheduler_history:{entry_id}"


def fetch(queue: str, owner: str) -> str:
    """
    qd: what the last fetch of one worker took, so that a lost reply can be asked for again: its nonce,
    then the ids in MessagePack.
    """
    return f"qd:{{{queue}}}:fetch:{owner}"


def kills(queue: str) -> str:
    """qd: the worker processes that were killed in the last minute, with the tasks they were running."""
    return f"qd:{{{queue}}}:kills"


def events(queue: str) -> str:
    """qd: the transitions of tasks in a queue, while a timeline is kept; the latest stand last."""
    return f"qd:{{{queue}}}:events"


def events_of_task(queue: str, task_id: str) -> str:
    """qd: the entries in `events` that are about one task."""
    return f"qd:{{{queue}}}:events:t:{task_id}"


def events_of_trace(queue: str, trace: str) -> str:
    """qd: the ids of the tasks of one trace that `events` tells of."""
    return f"qd:{{{queue}}}:events:x:{trace}"


def cron(queue: str, name: str) -> str:
    """qd: what is known of a periodic task: its last ticks, and whether it is paused."""
    return f"qd:{{{queue}}}:cron:{name}"


def schedule(queue_prefix: str) -> str:
    """qd: the periodic tasks that were added at run time, by name."""
    return f"qd:schedule:{queue_prefix}" if queue_prefix else "qd:schedule"


def scheduler_entries(scheduler_id: str) -> str:
    """qd: the periodic tasks of one scheduler with all that asynq's entries have no room for."""
    return f"qd:schedulers:{{{scheduler_id}}}"


def lock(name: str) -> str:
    """qd: a named lock."""
    return f"qd:lock:{{{name}}}"


def once(key: str) -> str:
    """qd: what is known of a side effect that must happen once."""
    return f"qd:once:{{{key}}}"


def breaker_prefix(name: str) -> str:
    """qd: what stands before all keys of a breaker; it has a slot of a cluster for itself."""
    return f"qd:{{breaker:{name}}}:"


def breaker_index(name: str) -> str:
    """qd: the keys of a breaker that are not at rest."""
    return f"qd:{{breaker:{name}}}:index"


def limit_prefix(name: str) -> str:
    """qd: what stands before all keys of a limit; it has a slot of a cluster for itself."""
    return f"qd:{{limit:{name}}}:"


def limit_due(name: str) -> str:
    """qd: when somebody must look at the waiting tasks of each key of a limit."""
    return f"qd:{{limit:{name}}}:due"


def limit_held(name: str) -> str:
    """qd: the tasks that have a slot of a limit, with their workers."""
    return f"qd:{{limit:{name}}}:held"


def limit_line(name: str, key: str) -> str:
    """qd: the tasks that wait for one key of a limit, in their order."""
    return f"qd:{{limit:{name}}}:line:{key}"


def limit_set(name: str) -> str:
    """qd: what an operator has set of a limit."""
    return f"qd:{{limit:{name}}}:set"


def flows(queue_prefix: str) -> str:
    """qd: the flows that are not over, by when a scheduler looks at them next."""
    return f"qd:flows:{queue_prefix}" if queue_prefix else "qd:flows"


def flow(flow_id: str) -> str:
    """qd: a flow: its links, what is behind each, what became of them; it has a slot for itself."""
    return f"qd:{{flow:{flow_id}}}"


def flow_ready(flow_id: str) -> str:
    """qd: the nodes of a flow that can be enqueued, by until when somebody has them in hand."""
    return f"qd:{{flow:{flow_id}}}:ready"


def flow_open(flow_id: str) -> str:
    """qd: the links of a flow that are enqueued and have not ended, by when they were looked at."""
    return f"qd:{{flow:{flow_id}}}:open"


def ended_links(queue: str) -> str:
    """qd: links of flows that have ended in a queue, by when, until their flows know of it."""
    return f"qd:{{{queue}}}:ended_links"


def answer(order_id: str) -> str:
    """qd: what a worker process answers to an order."""
    return f"qd:answer:{order_id}"


def queue_of(key: str) -> str:
    """Return the queue a key belongs to, the text between its braces."""
    start = key.index("{") + 1
    return key[start : key.index("}", start)]
