"""
Tell systemd how the service is (the sd_notify protocol: one datagram per message).

Without NOTIFY_SOCKET in the environment every call does nothing. No call waits or raises.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping


class Notifier:
    """
    address: NOTIFY_SOCKET; a leading `@` means the abstract namespace. Empty: nobody listens.

    watchdog: seconds systemd waits for a sign of life, or None when it does not watch.
    """

    def __init__(self, address: str = "", watchdog: float | None = None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._status = ""
        # Half of it, as sd_watchdog_enabled(3) advises: one late message is no reason to die.
        self.watchdog_interval = watchdog / 2 if watchdog and address else None

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> Notifier:
        """
        The notifier systemd asked for. Takes the variables out of `environ`: they are meant for
        this process, and its children would only confuse systemd.
        """
        address = environ.pop("NOTIFY_SOCKET", "")
        microseconds = environ.pop("WATCHDOG_USEC", "")
        watched_pid = environ.pop("WATCHDOG_PID", "")
        meant_for_us = watched_pid in ("", str(os.getpid()))
        watched = microseconds.isdigit() and int(microseconds) > 0 and meant_for_us
        return cls(address, int(microseconds) / 1e6 if watched else None)

    def ready(self) -> None:
        self._send("READY=1")

    def reloading(self) -> None:
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now}")

    def stopping(self, within: float) -> None:
        """The service stops, and needs up to `within` seconds for it."""
        self._send(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={int(within * 1e6)}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`; sent only when it changed."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def watchdog(self) -> None:
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)
                sock.sendto(message.encode(), self._address)
        except OSError:
            # systemd is restarting, or its queue is full; the next message says more than this.
            self._status = ""


class Announcer:
    """Says the right thing at the right time: what `Supervisor` tells systemd."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._owes_ready = True
        self._next_watchdog = 0.0

    def reloading(self) -> None:
        self._notifier.reloading()
        self._owes_ready = True

    def stopping(self, within: float) -> None:
        self._notifier.stopping(within)
        self._owes_ready = False

    def tell(self, *, complete: bool, status: str, now: float) -> float | None:
        """
        Called by each turn of the loop, so that a loop that hangs falls silent.

        complete: everything wanted runs. Returns when it wants to be called again at the latest.
        """
        if complete and self._owes_ready:
            self._owes_ready = False
            self._notifier.ready()
        self._notifier.status(status)
        interval = self._notifier.watchdog_interval
        if interval is None:
            return None
        if now >= self._next_watchdog:
            self._notifier.watchdog()
            self._next_watchdog = now + interval
        return self._next_watchdog
