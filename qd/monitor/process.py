"""The monitor at work: reports in, requests answered."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus

from qd.broker.connect import open_link
from qd.broker.endpoint import Endpoint
from qd.config.model import Settings
from qd.monitor import families, health
from qd.monitor.backlog import BacklogReader
from qd.monitor.server import Page, Server, json_page
from qd.monitor.telemetry import Telemetry
from qd.monitor.totals import Totals

_TICK = 1.0


class Monitor:
    """
    Adds up what comes through *telemetry* and answers on *listener*.

    *needed* is the role without which this daemon is not ready: worker, or scheduler.
    """

    def __init__(
        self,
        settings: Settings,
        endpoint: Endpoint,
        telemetry: Telemetry,
        listener: socket.socket,
        *,
        needed: str,
    ) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._needed = needed
        self._totals = Totals(_lives)
        self._link = open_link(endpoint)
        self._backlog = BacklogReader(self._link)
        pages = {"/metrics": self._metrics, "/healthz": self._health, "/readyz": self._ready}
        self._server = Server(listener, pages)

    def run(self, stop: Iterable[int], on_tick: Callable[[], None]) -> None:
        """Serve until one of the descriptors *stop* can be read; *on_tick* is called each second."""
        poll = select.poll()
        stopping = list(stop)
        for fd in (*stopping, self._telemetry.fileno()):
            poll.register(fd, select.POLLIN)
        self._server.start()
        while True:
            ready = {fd for fd, _ in poll.poll(_TICK * 1000)}
            for report in self._telemetry.receive():
                self._totals.add(report, time.monotonic())
            if not ready.isdisjoint(stopping):
                break
            on_tick()
        self._server.stop()
        self._link.close()

    def _health(self) -> Page:
        now = time.monotonic()
        verdict = health.health(
            self._totals.processes(now), now, watchdog=self._settings.worker.watchdog
        )
        return json_page(verdict.ok, verdict.as_dict())

    def _readiness(self) -> health.Verdict:
        now = time.monotonic()
        backlog = self._backlog.read()
        return health.readiness(
            self._totals.processes(now),
            now,
            needed=self._needed,
            redis_error=backlog.error,
            queues=backlog.queues,
            high_backlog=self._settings.monitor.high_backlog,
        )

    def _ready(self) -> Page:
        verdict = self._readiness()
        return json_page(verdict.ok, verdict.as_dict())

    def _metrics(self) -> Page:
        ready = self._readiness().ok
        processes = self._totals.processes(time.monotonic())
        scene = families.Scene(self._totals, processes, self._backlog.read(), ready)
        return Page(HTTPStatus.OK, families.CONTENT_TYPE, families.page(scene))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
