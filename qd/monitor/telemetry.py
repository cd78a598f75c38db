"""The way of the reports: a pair of datagram sockets, made before the fork, that never blocks."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from qd.observability.tally import Tally

_BUFFER = 1 << 20
_ROOM = 65_536


class Telemetry:
    """Children send, the monitor receives; nobody ever waits."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._receiver.setblocking(False)
        self._sender.setblocking(False)

    def fileno(self) -> int:
        """The descriptor that becomes readable when a report has come."""
        return self._receiver.fileno()

    def send(self, tally: Tally, **facts: Any) -> None:
        """Report what *tally* has new. While no monitor reads, the oldest reports are kept."""
        for report in tally.take(**facts):
            with suppress(OSError):
                self._sender.send(report)

    def receive(self) -> list[bytes]:
        """Return the reports that have come."""
        reports: list[bytes] = []
        with suppress(BlockingIOError):
            while len(reports) < 1000:
                reports.append(self._receiver.recv(_ROOM))
        return reports

    def close(self) -> None:
        self._receiver.close()
        self._sender.close()
