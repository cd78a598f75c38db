"""Worker processes, as they report themselves every few seconds, and what they run."""

from __future__ import annotations

import builtins
from collections.abc import Callable

from qd.broker.link import Link
from qd.errors import DecodeError, NotFound, UsageError
from qd.inspector.values import moment_ns
from qd.inspector.views import RunningView, ServerView
from qd.protocol import codec
from qd.protocol.ops import inspect_presence
from qd.suggest import did_you_mean


class Servers:
    """The worker processes of all hosts, Go servers included. `clock` gives Unix seconds."""

    def __init__(self, link: Link, clock: Callable[[], float]) -> None:
        self._link = link
        self._clock = clock

    def list(self) -> builtins.list[ServerView]:
        """
        Return the worker processes that were heard of in the last ten seconds, by host and pid.

        What has just expired or cannot be decoded is left out; nothing is removed.
        """
        keys = self._link.execute(inspect_presence.server_keys(now=int(self._clock())))
        steps = [step for key in keys for step in inspect_presence.read_server(key)]
        replies = self._link.execute_many(steps) if steps else []
        read = zip(replies[::3], replies[1::3], replies[2::3], strict=True)
        found = [_server(info, running, types) for info, running, types in read if info]
        return sorted(
            (one for one in found if one is not None), key=lambda one: (one.host, one.pid, one.id)
        )

    def find(self, prefix: str) -> ServerView:
        """
        Return the worker process that *prefix* names: the beginning of its id, or of `host:pid`.

        Raises:
            NotFound: None begins like that.
            UsageError: Several do; the message names them. Give more of the id.
        """
        servers = self.list()
        names = {one: (one.id, f"{one.host}:{one.pid}") for one in servers}
        found = [one for one in servers if prefix in names[one]]
        found = found or [one for one in servers if any(n.startswith(prefix) for n in names[one])]
        if not prefix or not found:
            known = [name for pair in names.values() for name in pair]
            raise NotFound(
                f'There is no worker process "{prefix}".{did_you_mean(prefix, known)}',
                hint="`qd server ls` lists those that run.",
            )
        if len(found) > 1:
            several = ", ".join(f"{one.id} ({one.host}:{one.pid})" for one in found)
            raise UsageError(f'"{prefix}" could be each of {several}.', hint="Give the whole id.")
        return found[0]


def _server(
    info: bytes, running: builtins.list[bytes], types: tuple[str, ...] | None
) -> ServerView | None:
    try:
        server = codec.decode_server(info)
    except DecodeError:
        return None
    tasks = [task for task in map(_running, running) if task is not None]
    return ServerView(
        id=server.server_id,
        host=server.host,
        pid=server.pid,
        status=server.status,
        started=moment_ns(server.started_ns),
        concurrency=server.concurrency,
        active_workers=server.active_workers,
        queues=tuple(sorted(server.queues, key=lambda pair: (-pair[1], pair[0]))),
        strict_priority=server.strict_priority,
        types=types,
        running=tuple(
            sorted(tasks, key=lambda one: (one.started is not None, one.started, one.task_id))
        ),
    )


def _running(data: bytes) -> RunningView | None:
    try:
        worker = codec.decode_worker(data)
    except DecodeError:
        return None
    return RunningView(
        task_id=worker.task_id,
        type=worker.task_type,
        queue=worker.queue,
        payload=worker.task_payload,
        started=moment_ns(worker.started_ns),
        deadline=moment_ns(worker.deadline_ns),
        server_id=worker.server_id,
        host=worker.host,
        pid=worker.pid,
    )
