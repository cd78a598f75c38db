"""
Renews leases and shows this worker to asynq's tools, every five seconds.

In a thread of its own with a connection of its own, so that a handler that blocks the loop does not
lose the leases of all the others. Nothing in here touches the loop but through `call_soon_threadsafe`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qd import clock, failpoint
from qd.broker.link import Link
from qd.errors import BrokerError
from qd.protocol import constants
from qd.protocol.message import ServerInfo, WorkerInfo
from qd.protocol.op import Op
from qd.protocol.ops import endings, presence, upkeep
from qd.protocol.ops.endings import Fate, Held
from qd.runtime.held import HeldTasks
from qd.runtime.lease_clock import LeaseClock
from qd.runtime.run import Run

_PREVIEW = 4096
"""Bytes of a payload shown with a running task; whole ones would be sent every five seconds."""

_SLICE = 500


class Heartbeater:
    """
    Beats for one worker process. *on_lost* is called on the loop for runs that were taken over; *more*
    says what else is to be renewed for what is held.
    """

    def __init__(
        self,
        link: Link,
        *,
        server_id: str,
        queues: Mapping[str, int],
        strict: bool,
        concurrency: int,
        types: Sequence[str],
        held: HeldTasks,
        lease_clock: LeaseClock,
        birthmark: str,
        running: Callable[[], list[Run]],
        on_lost: Callable[[Run], None],
        more: Callable[[list[Run]], list[Op[Any]]] = lambda _runs: [],
    ) -> None:
        self._link = link
        self._server_id = server_id
        self._queues = tuple(queues.items())
        self._strict = strict
        self._concurrency = concurrency
        self._types = types
        self._held = held
        self._lease_clock = lease_clock
        self._running = running
        self._on_lost = on_lost
        self._more = more
        self._loop = asyncio.get_running_loop()
        self._host = host_name()
        self._pid = os.getpid()
        self._birthmark = birthmark
        self._started_ns = clock.now_ns()
        self._status = "active"
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="qd-heartbeat", daemon=True)
        self._log = logging.getLogger("qd.heartbeater")
        self._failing = False

    def start(self) -> None:
        self._thread.start()

    def show(self, status: str) -> None:
        """Show another status (active, stopped, closed) from now on."""
        self._status = status
        self._wake.set()

    async def stop(self) -> None:
        """Stop beating and take this worker off the list. Bounded by the link's time limit."""
        self._stopping = True
        self._wake.set()
        await asyncio.to_thread(self._thread.join, 2 * constants.HEARTBEAT)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            started = time.monotonic()
            try:
                self._beat()
                if self._failing:
                    self._log.info("heartbeats reach Redis again")
                self._failing = False
            except BrokerError as error:
                if not self._failing:
                    self._log.warning("heartbeat not delivered: %s", error)
                self._failing = True
            except Exception:  # noqa: BLE001 - a heartbeat must survive whatever it meets
                self._log.exception("heartbeat failed, and goes on")
            pause = 0.5 if self._failing else constants.HEARTBEAT
            self._wake.wait(max(0.0, pause - (time.monotonic() - started)))
        with contextlib.suppress(BrokerError):
            self._link.execute_many(presence.clear_server(self._host, self._pid, self._server_id))
        self._link.close()

    def _beat(self) -> None:
        one_node = self._link.one_node
        self._lease_clock.set(self._link.execute(upkeep.clock()) if one_node else clock.now())
        # Leases first: being seen is worth less than keeping what is held.
        held = self._held.snapshot()
        errors = self._extend(held)
        # What is wrong with one key must not keep the others from being written.
        answers = self._link.execute_each(
            [
                *self._more(held),
                *presence.write_server(
                    self._info(),
                    self._worker_infos(),
                    self._types,
                    now=int(clock.now()),
                    birthmark=self._birthmark,
                ),
            ]
        )
        errors += [one for one in answers if isinstance(one, BrokerError)]
        if errors:
            raise errors[0]

    def _extend(self, held: list[Run]) -> list[BrokerError]:
        by_queue: dict[str, list[Run]] = {}
        for run in held:
            by_queue.setdefault(run.queue, []).append(run)
        slices = [
            (queue, runs[start : start + _SLICE])
            for queue, runs in by_queue.items()
            for start in range(0, len(runs), _SLICE)
        ]
        if not slices:
            return []
        until = self._lease_clock.lease_until()
        for run in held:
            # Before it is sent: if the answer is lost, either score may be the one in Redis.
            before = run.held
            run.held = Held(before.id, before.low, max(before.high, until))
        failpoint.hit("extend.before")
        answers = self._link.execute_each(
            [
                endings.extend(
                    queue, self._server_id, [run.held for run in runs], lease_until=until
                )
                for queue, runs in slices
            ]
        )
        failpoint.hit("extend.after")
        for (_, runs), fates in zip(slices, answers, strict=True):
            if isinstance(fates, BrokerError):
                continue
            for run, fate in zip(runs, fates, strict=True):
                if fate is Fate.OK:
                    run.held = Held(run.held.id, until, until)
                elif not run.ended:
                    self._loop.call_soon_threadsafe(self._on_lost, run)
        return [one for one in answers if isinstance(one, BrokerError)]

    def _info(self) -> ServerInfo:
        return ServerInfo(
            host=self._host,
            pid=self._pid,
            server_id=self._server_id,
            concurrency=self._concurrency,
            queues=self._queues,
            strict_priority=self._strict,
            status=self._status,
            started_ns=self._started_ns,
            active_workers=len(self._running()),
        )

    def _worker_infos(self) -> list[WorkerInfo]:
        return [
            WorkerInfo(
                host=self._host,
                pid=self._pid,
                server_id=self._server_id,
                task_id=run.message.id,
                task_type=run.message.type,
                task_payload=run.message.payload[:_PREVIEW],
                queue=run.queue,
                started_ns=int(run.started_at * 1e9),
                deadline_ns=int(run.deadline_at * 1e9),
            )
            for run in self._running()
        ]


def host_name() -> str:
    """The host as asynq's tools show it."""
    return socket.gethostname() or "unknown-host"
