"""Operations that read who is there: worker processes, running tasks, schedulers, Redis itself."""

from __future__ import annotations

from typing import Any

from qd.protocol import keys
from qd.protocol.op import Op, command, text


def server_keys(*, now: int) -> Op[list[str]]:
    """Keys of the worker processes that were heard of lately."""
    return _alive(keys.SERVERS, now)


def scheduler_keys(*, now: int) -> Op[list[str]]:
    """Keys of the schedulers that were heard of lately."""
    return _alive(keys.SCHEDULERS, now)


def _alive(key: str, now: int) -> Op[list[str]]:
    # asynq removes the others while it reads; a look should change nothing.
    return command(
        "ZRANGE", [key], [now, "+inf", "BYSCORE"], lambda reply: [text(one) for one in reply]
    )


def read_server(server_key: str) -> list[Op[Any]]:
    """
    The ServerInfo (or None) and the WorkerInfos of one worker process, as bytes, and the task types
    it has handlers for (None for a Go server, which does not tell).
    """
    tag = server_key[len(keys.SERVERS) :]
    return [
        command("GET", [server_key], [], _as_is),
        command("HVALS", [keys.WORKERS + tag], [], _as_is),
        command("GET", [keys.TYPES + tag], [], _types),
    ]


def read_birthmark(server_key: str) -> Op[str]:
    """What proves the death of a worker process of qd; empty if it has not told. See `qd.birthmark`."""
    key = keys.BIRTHMARKS + server_key[len(keys.SERVERS) :]
    return command("GET", [key], [], lambda reply: "" if reply is None else text(reply))


def read_entries(scheduler_key: str) -> Op[list[bytes]]:
    """The SchedulerEntries of one scheduler, as bytes."""
    return command("LRANGE", [scheduler_key], [0, -1], _as_is)


def read_documents(scheduler_key: str) -> Op[list[bytes]]:
    """The periodic tasks of one scheduler of qd, as JSON; a Go scheduler has none."""
    scheduler = scheduler_key[len(keys.SCHEDULERS) + 1 :].strip("{}")
    return command("LRANGE", [keys.scheduler_entries(scheduler)], [0, -1], _as_is)


def read_events(entry_id: str, *, offset: int, limit: int) -> Op[list[bytes]]:
    """Firings of a scheduler entry as bytes, the latest first."""
    key = keys.scheduler_history(entry_id)
    return command("ZREVRANGE", [key], [offset, offset + limit - 1], _as_is)


def redis_info() -> Op[dict[str, str]]:
    """What Redis says about itself (INFO); on a cluster, one of its nodes."""
    return command("INFO", [], [], _info)


def _types(reply: Any) -> tuple[str, ...] | None:
    return None if reply is None else tuple(text(reply).splitlines())


def _as_is(reply: Any) -> Any:
    return reply


def _info(reply: Any) -> dict[str, str]:
    if isinstance(reply, dict):
        # The client library has taken it apart already: it does so on a cluster.
        return {str(name): str(value) for name, value in reply.items()}
    lines = (line.partition(":") for line in text(reply).splitlines() if not line.startswith("#"))
    return {name: value for name, colon, value in lines if colon}
