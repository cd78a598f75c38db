"""
Open links to the Redis of the settings, whatever form it has.

The one place that chooses: a single server, a master that sentinels name, or a cluster. With no
Redis configured, qd's own server is used (`embedded`); whoever opens it holds it up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from qd.broker.endpoint import Endpoint, Tls, Topology, keepalive_options, parse_addresses
from qd.broker.failures import translate
from qd.broker.lean import async_connection, async_retry, backoff, connection, exceptions, retry
from qd.broker.link import ClusterLink, Link, NodeLink
from qd.errors import BrokerUnavailable

if TYPE_CHECKING:
    from qd.broker.async_cluster_link import AsyncClusterLink
    from qd.broker.async_link import AsyncNodeLink, Push
    from qd.config.redis import RedisSettings


_WHO_IS_MASTER = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME")


def endpoint_of(redis: RedisSettings, socket_path: Path | None = None) -> Endpoint:
    """
    Return the endpoint that the settings name.

    *socket_path* is qd's own server, for when no address is configured.
    """
    tls = redis.tls
    named = bool(tls.ca_file or tls.cert_file or tls.key_file or tls.insecure)
    addresses = list(redis.addrs)
    if not addresses and socket_path is not None:
        addresses = [str(socket_path)]
    return parse_addresses(
        addresses,
        username=redis.username,
        password=redis.password.reveal(),
        db=redis.db,
        tls=Tls(tls.ca_file, tls.cert_file, tls.key_file, tls.insecure) if named else None,
        master=redis.sentinel.master,
        sentinel_username=redis.sentinel.username,
        sentinel_password=redis.sentinel.password.reveal(),
        connect_timeout=redis.connect_timeout,
        call_timeout=redis.call_timeout,
    )


def import_library(endpoint: Endpoint) -> None:
    """Import what opening a link imports later, for a process whose children are to share it."""
    import encodings.idna  # noqa: F401 - looks up names of hosts

    if endpoint.topology is Topology.CLUSTER:
        import redis.asyncio.cluster
        import redis.cluster  # noqa: F401


def open_link(endpoint: Endpoint) -> Link:
    """Return a link for synchronous code; nothing is sent before it is used."""
    if endpoint.topology is Topology.CLUSTER:
        return ClusterLink(lambda: _cluster_client(endpoint), str(endpoint), endpoint.timeline)
    return NodeLink(lambda: _dial(endpoint), str(endpoint), endpoint.timeline)


def open_async_link(endpoint: Endpoint) -> AsyncNodeLink | AsyncClusterLink:
    """Return a link for asynchronous code; nothing is sent before it is used."""
    if endpoint.topology is Topology.CLUSTER:
        from qd.broker.async_cluster_link import AsyncClusterLink

        return AsyncClusterLink(
            lambda: _async_cluster_client(endpoint),
            str(endpoint),
            call_timeout=endpoint.call_timeout,
            timeline=endpoint.timeline,
        )
    return open_node_link(endpoint)


def open_node_link(
    endpoint: Endpoint,
    *,
    greeting: Sequence[tuple[Any, ...]] = (),
    on_push: Push | None = None,
    on_lost: Callable[[], None] | None = None,
) -> AsyncNodeLink:
    """
    Return a link over one connection. With *on_push* it speaks RESP3, so the server can call.

    On a cluster it goes to one node: good for Pub/Sub, which a cluster carries everywhere.
    """
    from qd.broker.async_link import AsyncNodeLink

    protocol = 2 if on_push is None else 3

    async def dial() -> Any:
        return await _async_dial(endpoint, protocol)

    return AsyncNodeLink(
        dial,
        str(endpoint),
        call_timeout=endpoint.call_timeout,
        greeting=greeting,
        on_push=on_push,
        on_lost=on_lost,
        timeline=endpoint.timeline,
    )


def _options(endpoint: Endpoint, protocol: int, *, timeout: float | None) -> dict[str, Any]:
    # Retries of the library would run scripts twice. Its time limit costs 4 us a reply in
    # asynchronous code and would end every long wait, so links keep their own there.
    options: dict[str, Any] = {
        "protocol": protocol,
        "socket_timeout": timeout,
        "socket_connect_timeout": endpoint.connect_timeout,
        "driver_info": None,
        **endpoint.login,
    }
    if endpoint.topology is Topology.CLUSTER:
        return options
    options |= {"retry": _no_retry(), "db": endpoint.db}
    return options


def _no_retry() -> Any:
    return cast("Any", retry.Retry)(cast("Any", backoff.NoBackoff)(), 0)


def _async_no_retry() -> Any:
    return cast("Any", async_retry.Retry)(cast("Any", backoff.NoBackoff)(), 0)


def _dial(endpoint: Endpoint) -> Any:
    library: Any = connection
    options = _options(endpoint, 2, timeout=endpoint.call_timeout)
    if endpoint.path:
        return library.UnixDomainSocketConnection(path=endpoint.path, **options)
    host, port = _master(endpoint) if endpoint.topology is Topology.SENTINEL else endpoint.nodes[0]
    options |= {"host": host, "port": port, "socket_keepalive": True,
                "socket_keepalive_options": keepalive_options()}  # fmt: skip
    if endpoint.tls is None:
        return library.Connection(**options)
    return library.SSLConnection(**options, **_without_ssl_flag(endpoint.tls))


async def _async_dial(endpoint: Endpoint, protocol: int) -> Any:
    library: Any = async_connection
    options = _options(endpoint, protocol, timeout=None)
    options["retry"] = _async_no_retry()
    if endpoint.path:
        return library.UnixDomainSocketConnection(path=endpoint.path, **options)
    if endpoint.topology is Topology.SENTINEL:
        host, port = await _async_master(endpoint)
    else:
        host, port = endpoint.nodes[0]
    options |= {"host": host, "port": port, "socket_keepalive": True,
                "socket_keepalive_options": keepalive_options()}  # fmt: skip
    if endpoint.tls is None:
        return library.Connection(**options)
    return library.SSLConnection(**options, **_without_ssl_flag(endpoint.tls))


def _without_ssl_flag(tls: Tls) -> dict[str, Any]:
    return {name: value for name, value in tls.as_kwargs().items() if name != "ssl"}


def _sentinel_options(endpoint: Endpoint, node: tuple[str, int], retry: Any) -> dict[str, Any]:
    # The library's own client asks a sentinel that is down ten times, for four seconds.
    return {
        "host": node[0],
        "port": node[1],
        "retry": retry,
        "socket_timeout": endpoint.connect_timeout,
        "socket_connect_timeout": endpoint.connect_timeout,
        "username": endpoint.sentinel_username or None,
        "password": endpoint.sentinel_password or None,
        "protocol": 2,
        "driver_info": None,
        **(_without_ssl_flag(endpoint.tls) if endpoint.tls else {}),
    }


def _master(endpoint: Endpoint) -> tuple[str, int]:
    library: Any = connection
    kind: Any = library.SSLConnection if endpoint.tls else library.Connection
    errors: list[str] = []
    for node in endpoint.nodes:
        sentinel = kind(**_sentinel_options(endpoint, node, _no_retry()))
        try:
            sentinel.connect()
            sentinel.send_command(*_WHO_IS_MASTER, endpoint.master)
            answer = sentinel.read_response()
        except (exceptions.RedisError, OSError) as error:
            errors.append(f"{node[0]}:{node[1]}: {error}")
            continue
        finally:
            sentinel.disconnect()
        if answer:
            return answer[0].decode(), int(answer[1])
    raise _no_master(endpoint, errors)


async def _async_master(endpoint: Endpoint) -> tuple[str, int]:
    library: Any = async_connection
    kind: Any = library.SSLConnection if endpoint.tls else library.Connection
    errors: list[str] = []
    for node in endpoint.nodes:
        sentinel = kind(**_sentinel_options(endpoint, node, _async_no_retry()))
        try:
            await sentinel.connect()
            await sentinel.send_command(*_WHO_IS_MASTER, endpoint.master)
            answer = await sentinel.read_response()
        except (exceptions.RedisError, OSError) as error:
            errors.append(f"{node[0]}:{node[1]}: {error}")
            continue
        finally:
            await sentinel.disconnect()
        if answer:
            return answer[0].decode(), int(answer[1])
    raise _no_master(endpoint, errors)


def _no_master(endpoint: Endpoint, errors: list[str]) -> BrokerUnavailable:
    if len(errors) == len(endpoint.nodes):
        return BrokerUnavailable(
            f"connect: no sentinel answers: {'; '.join(errors)}",
            hint="Are the sentinels running and reachable? Check redis.addrs.",
        )
    return BrokerUnavailable(
        f"connect: {endpoint} know no master named {endpoint.master!r}",
        hint="Check redis.sentinel.master, and that the sentinels agree on a master.",
    )


def _cluster_client(endpoint: Endpoint) -> Any:
    from redis import cluster

    first, *others = endpoint.nodes
    options = _options(endpoint, 2, timeout=endpoint.call_timeout)
    if endpoint.tls is None:
        options |= {"host": first[0], "port": first[1]}
    else:
        from qd.broker.tls_pool import TlsPool

        # Only with a URL does the library take a pool; no other part of it is used.
        host = f"[{first[0]}]" if ":" in first[0] else first[0]
        options |= {
            "url": f"rediss://{host}:{first[1]}",
            "connection_pool_class": TlsPool,
            **_without_ssl_flag(endpoint.tls),
        }
    try:
        return cast("Any", cluster.RedisCluster)(
            startup_nodes=[cast("Any", cluster.ClusterNode)(host, port) for host, port in others],
            retry=_no_retry(),
            **options,
        )
    except (exceptions.RedisError, OSError) as error:
        raise translate(error, "connect", str(endpoint)) from error


def _async_cluster_client(endpoint: Endpoint) -> Any:
    from redis.asyncio import cluster

    options = _options(endpoint, 2, timeout=None)
    if endpoint.tls is not None:
        options |= endpoint.tls.as_kwargs()
    return cast("Any", cluster.RedisCluster)(
        startup_nodes=[
            cast("Any", cluster.ClusterNode)(host, port) for host, port in endpoint.nodes
        ],
        retry=_async_no_retry(),
        **options,
    )
