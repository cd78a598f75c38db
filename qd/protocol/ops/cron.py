"""
Operations of periodic tasks: each tick is decided once, and noted in asynq's history.

What is known of a periodic task stands in one hash beside its queue: the last tick that was decided,
the last one that was enqueued, the id of its task, and whether it is paused. Those that were added at
run time stand in one hash by name, as JSON.
"""

from __future__ import annotations

import uuid
from enum import IntEnum
from typing import Any

from msgspec import Struct

from qd.protocol import codec, constants, keys
from qd.protocol.message import EnqueueEvent
from qd.protocol.op import Op, command, script, text
from qd.protocol.ops.admission import admission_args, admission_keys
from qd.protocol.ops.tasks import NewTask
from qd.protocol.scripts import Script
from qd.protocol.state import TaskState

_BEGIN = Script("cron_begin")
_TICK = Script("cron_tick")

_REMEMBER = 400 * 24 * 3600
"""Seconds that the last tick is remembered: longer than the rarest usual period, a year."""

_NAMESPACE = uuid.UUID("3c9ad1a4-6f0e-5b62-9d55-0f2f6a7c8e41")


class Decision(IntEnum):
    """What became of a tick."""

    ENQUEUED = 1
    DECIDED_BEFORE = 0
    """By another scheduler, or by this one before it lost the answer."""
    ID_IN_USE = 2
    LOCK_HELD = 3
    STILL_RUNNING = 4
    """The task of the last tick has not ended, and overlapping is not wanted."""
    PAUSED = 5


class Ledger(Struct, frozen=True):
    """The last tick that was decided, and the last that was enqueued (Unix seconds)."""

    tick: int
    fired: int | None


class Standing(Struct, frozen=True):
    """
    What `qd cron` shows of a periodic task. Moments are Unix seconds, None is never.

    `late` is by how many seconds the last tick was enqueued after its time.
    """

    tick: int | None
    fired: int | None
    late: float | None
    paused_since: int | None


class Ticked(Struct, frozen=True):
    """What was decided about a tick, and the last tick that was enqueued (Unix seconds)."""

    decision: Decision
    fired: int | None


def entry_id(queue_prefix: str, name: str) -> str:
    """The id of a periodic task: the same on every host and after every restart."""
    return str(uuid.uuid5(_NAMESPACE, f"{queue_prefix}\0{name}"))


def begin(queue: str, name: str, *, now: int, since: int | None = None) -> Op[Ledger]:
    """
    Return what is known of a periodic task. If nothing is, its ticks count from *now* on.

    With *since*, its ticks count from there on, whatever was decided before that. Safe to repeat:
    whoever comes first decides when it began.
    """
    return script(
        _BEGIN,
        [keys.cron(queue, name)],
        [now, _REMEMBER, "" if since is None else since],
        lambda reply: Ledger(int(reply[0]), _moment(reply[1])),
    )


def tick(
    queue: str,
    name: str,
    task: NewTask,
    state: TaskState,
    *,
    tick_at: int,
    overlap: bool,
    now_ns: int,
) -> Op[Ticked]:
    """
    Enqueue the task of the tick at *tick_at* (Unix seconds), unless that or a later one was decided.

    *state* is where the new task belongs: pending, scheduled or aggregating. Without *overlap* the
    tick passes without a task while the last one has not ended: it neither completed nor was it
    archived. Atomic, so any number of schedulers may try; safe to repeat.
    """
    return script(
        _TICK,
        [keys.cron(queue, name), *admission_keys(queue, task, state)],
        [
            tick_at,
            _REMEMBER,
            int(overlap),
            keys.task_prefix(queue),
            *admission_args(task, state, now_ns=now_ns),
        ],
        lambda reply: Ticked(Decision(reply[0]), _moment(reply[1])),
    )


def pause(queue: str, name: str, *, now: int) -> Op[int]:
    """Let ticks pass without a task from now on (Unix seconds); they do not count as missed."""
    return command("HSET", [keys.cron(queue, name)], ["paused", now], int)


def resume(queue: str, name: str) -> Op[bool]:
    """Let ticks enqueue tasks again; False if it was not paused."""
    return command("HDEL", [keys.cron(queue, name)], ["paused"], bool)


def standing(queue: str, name: str) -> Op[Standing]:
    """Return what is known of a periodic task."""

    def parse(reply: Any) -> Standing:
        tick, fired, late, paused = reply
        return Standing(
            _moment(tick), _moment(fired), int(late) / 1000 if late else None, _moment(paused)
        )

    return command("HMGET", [keys.cron(queue, name)], ["tick", "fired", "late", "paused"], parse)


def stored(queue_prefix: str) -> Op[dict[str, bytes]]:
    """Return the periodic tasks that were added at run time: JSON by name."""

    def parse(reply: Any) -> dict[str, bytes]:
        # RESP3 has a map, RESP2 has names and values one after the other.
        pairs = reply.items() if isinstance(reply, dict) else zip(*[iter(reply)] * 2, strict=True)
        return {text(name): document for name, document in pairs}

    return command("HGETALL", [keys.schedule(queue_prefix)], [], parse)


def store(queue_prefix: str, name: str, document: bytes) -> Op[int]:
    """Keep a periodic task; one of the same name is replaced. Running schedulers hear of it."""
    return command("HSET", [keys.schedule(queue_prefix)], [name, document], int)


def unstore(queue_prefix: str, name: str) -> Op[bool]:
    """Forget a periodic task that was added at run time; False if there was none."""
    return command("HDEL", [keys.schedule(queue_prefix)], [name], bool)


def record_event(entry: str, task_id: str, *, now_ns: int) -> list[Op[Any]]:
    """Note a firing in the history of the entry with that id; at most 1,000 are kept."""
    key = keys.scheduler_history(entry)
    event = codec.encode_event(EnqueueEvent(task_id, now_ns))
    return [
        command("ZREMRANGEBYRANK", [key], [0, -constants.HISTORY_MAX], int),
        command("ZADD", [key], [now_ns // 1_000_000_000, event], int),
    ]


def _moment(reply: Any) -> int | None:
    return int(reply) if reply else None
