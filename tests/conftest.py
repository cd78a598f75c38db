"""
Real servers for every test that needs Redis. None is started before a test asks for one.

    server          a RedisServer, running and empty: the one to use
    redis_url       its address
    raw             a redis client on it, to look at keys directly (bytes, RESP2)
    cluster         three masters, running and empty
    sentinel        a master, a replica and sentinels; the replica follows and nothing is stored
    tls_server      a server with TLS; `raw` commands go over its unix socket

The processes behind them live for the whole session, one set per xdist worker; before each test
what an earlier one has killed, paused or stored is put right. A test that wants a server with
arguments of its own writes `with RedisServer("--maxmemory", "5mb") as server:`.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import hypothesis
import pytest
import redis

from tests.compat.figures import pytest_terminal_summary as pytest_terminal_summary
from tests.support.server_groups import ClusterServers, SentinelServers
from tests.support.servers import RedisServer, ServerError, TlsServer

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So a shell starts what runs in the background, and programs that tests start would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something about the machine, not about the code.
hypothesis.settings.register_profile("qd", deadline=None)
hypothesis.settings.load_profile("qd")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The process behind `server`; may hold what earlier tests have left."""
    with RedisServer(tcp=True) as server:
        yield server


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    redis_server.reset()
    return redis_server


@pytest.fixture
def redis_url(server: RedisServer) -> str:
    return server.url


@pytest.fixture
def raw(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client() as client:
        yield client


@pytest.fixture(scope="session")
def cluster_servers() -> Iterator[ClusterServers]:
    with closing(ClusterServers()) as servers:
        yield servers.start()


@pytest.fixture
def cluster(cluster_servers: ClusterServers) -> ClusterServers:
    cluster_servers.reset()
    return cluster_servers


@pytest.fixture(scope="session")
def sentinel_servers() -> Iterator[SentinelServers]:
    with closing(SentinelServers()) as servers:
        yield servers.start()


@pytest.fixture
def sentinel(sentinel_servers: SentinelServers) -> SentinelServers:
    sentinel_servers.reset()
    return sentinel_servers


@pytest.fixture(scope="session")
def tls_redis_server() -> Iterator[TlsServer]:
    """Skips where no server has TLS; in CI (CI=true) that is a failure."""
    path = shutil.which("redis-server") or "/usr/bin/redis-server"
    try:
        if not Path(path).exists():
            raise ServerError(f"{path} does not exist")
        server = TlsServer(binary=Path(path)).start()
    except ServerError as error:
        reason = f"TLS needs a redis-server that was built with it (apt install redis): {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with closing(server):
        yield server


@pytest.fixture
def tls_server(tls_redis_server: TlsServer) -> TlsServer:
    tls_redis_server.reset()
    return tls_redis_server
