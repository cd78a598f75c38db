"""Worker processes, as they report themselves every few seconds, what they run, and orders to them."""

from __future__ import annotations

import builtins
import time
import uuid
from collections.abc import Callable

from qd.broker.link import Link
from qd.errors import DecodeError, NotFound, UsageError, WrongState
from qd.inspector.values import moment_ns
from qd.inspector.views import RunningView, ServerView
from qd.protocol import codec, keys
from qd.protocol.ops import inspect_presence, presence
from qd.protocol.orders import Order, Verb
from qd.suggest import did_you_mean

_LOOK = 0.02
"""Seconds between two looks for an answer."""


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
        alive = self._link.execute(inspect_presence.server_keys(now=int(self._clock())))
        steps = [step for key in alive for step in inspect_presence.read_server(key)]
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
        found = _named(servers, prefix)
        if not found:
            raise _unknown(servers, prefix)
        if len(found) > 1:
            several = ", ".join(f"{one.id} ({one.host}:{one.pid})" for one in found)
            raise UsageError(f'"{prefix}" could be each of {several}.', hint="Give the whole id.")
        return found[0]

    def find_all(self, name: str) -> builtins.list[ServerView]:
        """
        Return all processes of the host *name*, or the one that *name* means as in `find`.

        Raises:
            NotFound, UsageError: As `find`.
        """
        return [one for one in self.list() if one.host == name] or [self.find(name)]

    def tell(self, server: ServerView, verb: Verb) -> None:
        """
        Tell a worker process what to do: take no new tasks, take them again, or stop.

        Nobody confirms it: look at its status until it has changed, and tell it again if it did not;
        a process that was just connecting anew has not heard.

        Raises:
            WrongState: It is a Go server, which takes no orders.
        """
        if server.types is None:
            raise WrongState(
                f"{server.host}:{server.pid} is a server of asynq, which takes no orders.",
                hint="On its host, send it TSTP to make it quiet, TERM to stop it.",
            )
        self._link.execute(presence.publish_order(Order(verb, server.id)))

    def stack_of(self, task: RunningView, *, timeout: float = 2.0) -> str | None:
        """
        Ask the worker process that runs a task where its handler is now; waits up to *timeout* s.

        None: no answer, because its event loop is blocked or it is a Go server. Empty: the handler
        has ended meanwhile.
        """
        reply_key = keys.answer(str(uuid.uuid4()))
        order = Order(Verb.STACK, task.server_id, task.task_id, reply_key)
        self._link.execute(presence.publish_order(order))
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            answer = self._link.execute(presence.read_answer(reply_key))
            if answer is not None:
                return answer
            time.sleep(_LOOK)
        return None


def _named(servers: builtins.list[ServerView], prefix: str) -> builtins.list[ServerView]:
    if not prefix:
        return []
    names = {one: (one.id, f"{one.host}:{one.pid}") for one in servers}
    exact = [one for one in servers if prefix in names[one]]
    return exact or [one for one in servers if any(n.startswith(prefix) for n in names[one])]


def _unknown(servers: builtins.list[ServerView], name: str) -> NotFound:
    known = [text for one in servers for text in (one.id, f"{one.host}:{one.pid}", one.host)]
    return NotFound(
        f'There is no worker process "{name}".{did_you_mean(name, known)}',
        hint="`qd server ls` lists those that run.",
    )


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
