"""The socket the monitor answers on; opened before the fork, so that a bad address is told at once."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

from qd.errors import ConfigError

_QUEUED = 64


def open_listener(address: str) -> socket.socket:
    """
    Listen on `host:port` or `unix:///path`; a socket that a dead process left at the path is replaced.

    Raises:
        ConfigError: The address cannot be used; the message says why.
    """
    try:
        return _unix(address) if address.startswith("unix://") else _tcp(address)
    except OSError as error:
        raise ConfigError(
            [f"monitor.address: cannot listen on {address}: {error.strerror or error}"],
            hint="Choose another address, or stop the program that has this one.",
        ) from None


def _tcp(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=_QUEUED)


def _unix(address: str) -> socket.socket:
    path = Path(address.removeprefix("unix://"))
    listener = socket.socket(socket.AF_UNIX)
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)):
                with suppress(FileNotFoundError):
                    path.unlink()
        listener.bind(str(path))
        path.chmod(0o660)
        listener.listen(_QUEUED)
    except OSError:
        listener.close()
        raise
    return listener
