"""
A pool for clusters that speak TLS.

A TLS 1.3 server sends session tickets right after the handshake. The library's pools take whatever
can be read from a socket for the answer to an earlier command, and refuse the new connection.
"""

from __future__ import annotations

from typing import Any

from redis.connection import ConnectionPool, SSLConnection


class _Connection(SSLConnection):
    """A connection that asks what has been received, and not what the socket could give."""

    def can_read(self, timeout: float = 0) -> bool:
        # The library's own look is kept: it raises for a connection that was closed.
        parser: Any = self._parser
        return super().can_read(timeout) and bool(parser._reader.has_data())


class TlsPool(ConnectionPool):
    """The library's pool with such connections."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"connection_class": _Connection})
