"""The monitor as a child of `qd worker`, and the reports of the other children to it."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qd.monitor.listener import open_listener
from qd.monitor.telemetry import Telemetry
from qd.observability import logs, tally

if TYPE_CHECKING:
    from qd.broker.endpoint import Endpoint
    from qd.config.model import Settings
    from qd.supervisor.child import Link


class MonitorSockets:
    """
    What the parent opens for the monitor, and keeps open while children come and go.

    So requests wait while a monitor is replaced, and two never fight for an address.
    """

    def __init__(self) -> None:
        self.telemetry = Telemetry()
        self._address = ""
        self._listener: socket.socket | None = None

    def listener(self, address: str) -> socket.socket | None:
        """
        Return the socket that listens on *address*, the one from before if it is the same; None for "".

        Raises:
            ConfigError: The address cannot be used; the one from before stays open.
        """
        if address != self._address:
            listener = open_listener(address) if address else None
            self._close_listener()
            self._address, self._listener = address, listener
        return self._listener

    def close(self) -> None:
        self.telemetry.close()
        self._close_listener()

    def _close_listener(self) -> None:
        if self._listener is None:
            return
        self._listener.close()
        if self._address.startswith("unix://"):
            with suppress(OSError):
                Path(self._address.removeprefix("unix://")).unlink()


class Reports:
    """Tells the monitor what this process has counted; does nothing where there is none."""

    def __init__(self, telemetry: Telemetry | None, role: str) -> None:
        self._telemetry = telemetry
        self._role = role
        self._expected_at = time.monotonic()
        self._known: Counter[tuple[str, str]] = Counter()

    def send(self, next_in: float, **facts: Any) -> None:
        """Report; call again in *next_in* seconds. Coming late shows how late the event loop is."""
        now = time.monotonic()
        lag, self._expected_at = max(now - self._expected_at, 0.0), now + next_in
        current = tally.current()
        if self._telemetry is not None and current is not None:
            self._telemetry.send(
                current, pid=os.getpid(), role=self._role, lag=round(lag, 4), **facts
            )

    def add_growth(self, name: str, totals: Mapping[str, int]) -> None:
        """Count by how much each of these has grown since the last call."""
        current = tally.current()
        if current is None:
            return
        for label, total in totals.items():
            if growth := total - self._known[name, label]:
                current.add(name, label, by=growth)
                self._known[name, label] = total


def monitor_main(
    link: Link,
    *,
    settings: Settings,
    endpoint: Endpoint,
    telemetry: Telemetry,
    listener: socket.socket,
    needed: str,
) -> int:
    """Be the monitor process (see `Monitor`) until told to stop; returns its exit code."""
    # Here, not above: nobody else needs the libraries behind it.
    from qd.monitor.process import Monitor

    log = settings.log
    logs.set_up(log.level, log.format, log.file, role=link.role)
    told, tell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(tell)
    for number in (signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, lambda *_: None)
    # A terminal sends these to everybody; the parent says what follows from them.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    monitor = Monitor(settings, endpoint, telemetry, listener, needed=needed)
    link.report_ready()
    monitor.run([link.lifeline_fd, told], on_tick=lambda: link.tick(0, 0))
    link.stopping()
    return 0
