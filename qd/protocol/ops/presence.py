"""Operations that show worker processes, running tasks and scheduler entries to the tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qd.protocol import codec, constants, keys, orders
from qd.protocol.message import SchedulerEntry, ServerInfo, WorkerInfo
from qd.protocol.op import Argument, Op, command, script, text
from qd.protocol.orders import Order
from qd.protocol.scripts import Script

_SHOW = Script("show")
_WRITE_SERVER = Script("write_server")
_WRITE_ENTRIES = Script("write_entries")

_ANSWER_TTL = 60


def write_server(
    info: ServerInfo,
    running: Sequence[WorkerInfo],
    types: Sequence[str] = (),
    *,
    now: int,
    birthmark: str = "",
) -> list[Op[Any]]:
    """
    Show a worker process, what it runs and which task types it knows, for ten seconds.

    Its *birthmark*, if it has one, stays for as long as a lease that it wrote before.
    """
    server = keys.server(info.host, info.pid, info.server_id)
    workers = keys.workers(info.host, info.pid, info.server_id)
    known = keys.types(info.host, info.pid, info.server_id)
    mark = keys.birthmark(info.host, info.pid, info.server_id)
    args: list[Argument] = [
        constants.PRESENCE_TTL,
        codec.encode_server(info),
        "\n".join(types),
        birthmark,
        constants.PRESENCE_TTL + constants.LEASE,
    ]
    for one in running:
        args += (one.task_id, codec.encode_worker(one))
    until = now + constants.PRESENCE_TTL
    ops: list[Op[Any]] = [
        script(_SHOW, [keys.SERVERS], [until, server], int),
        script(_WRITE_SERVER, [server, workers, known, mark], args, int),
    ]
    if running:
        ops.append(script(_SHOW, [keys.WORKERS], [until, workers], int))
    return ops


def clear_server(host: str, pid: int, server_id: str) -> list[Op[Any]]:
    """Take a worker process that stops off the list."""
    server = keys.server(host, pid, server_id)
    workers = keys.workers(host, pid, server_id)
    return [
        command("ZREM", [keys.SERVERS], [server], int),
        command("ZREM", [keys.WORKERS], [workers], int),
        command(
            "DEL",
            [
                server,
                workers,
                keys.types(host, pid, server_id),
                keys.birthmark(host, pid, server_id),
            ],
            [],
            int,
        ),
    ]


def write_entries(
    scheduler_id: str,
    entries: Sequence[SchedulerEntry],
    documents: Sequence[bytes] = (),
    *,
    now: int,
    ttl: int,
) -> list[Op[Any]]:
    """
    Show a scheduler's periodic tasks, for *ttl* seconds: twice the time to the next record.

    *documents* are the same tasks as qd declares them, in JSON.
    """
    key = keys.scheduler(scheduler_id)
    args: list[Argument] = [ttl, len(entries), *map(codec.encode_entry, entries), *documents]
    return [
        script(_SHOW, [keys.SCHEDULERS], [now + ttl, key], int),
        script(_WRITE_ENTRIES, [key, keys.scheduler_entries(scheduler_id)], args, int),
    ]


def clear_entries(scheduler_id: str) -> list[Op[Any]]:
    """Take a scheduler that stops off the list."""
    key = keys.scheduler(scheduler_id)
    return [
        command("ZREM", [keys.SCHEDULERS], [key], int),
        command("DEL", [key, keys.scheduler_entries(scheduler_id)], [], int),
    ]


def publish_cancel(task_id: str) -> Op[int]:
    """Ask whoever runs a task to cancel it; returns how many clients heard (on a cluster: of one node)."""
    return command("PUBLISH", [], [keys.CANCEL_CHANNEL, task_id], int)


def publish_order(order: Order) -> Op[int]:
    """Tell one worker process to do something; who hears is as with `publish_cancel`."""
    return command("PUBLISH", [], [keys.CANCEL_CHANNEL, orders.encode(order)], int)


def write_answer(reply_key: str, answer: str) -> Op[bool]:
    """Leave the answer to an order for a minute."""
    return command("SETEX", [reply_key], [_ANSWER_TTL, answer], bool)


def read_answer(reply_key: str) -> Op[str | None]:
    return command("GET", [reply_key], [], lambda reply: None if reply is None else text(reply))
