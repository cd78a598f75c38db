"""Where Redis is and how to log in: one server, a cluster, or sentinels that know the master."""

from __future__ import annotations

import socket
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from msgspec import Struct

from qd.errors import ConfigError
from qd.protocol.timeline import Timeline


class Topology(StrEnum):
    SINGLE = "single"
    CLUSTER = "cluster"
    SENTINEL = "sentinel"


class Tls(Struct, frozen=True):
    """Certificates by file path; `insecure` accepts any server certificate."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    insecure: bool = False

    def as_kwargs(self) -> dict[str, Any]:
        return {
            "ssl": True,
            "ssl_ca_certs": self.ca_file or None,
            "ssl_certfile": self.cert_file or None,
            "ssl_keyfile": self.key_file or None,
            "ssl_cert_reqs": "none" if self.insecure else "required",
            "ssl_check_hostname": not self.insecure,
        }


class Endpoint(Struct, frozen=True):
    """Everything needed to open a connection. Times in seconds."""

    topology: Topology
    nodes: tuple[tuple[str, int], ...] = ()
    path: str = ""
    """Unix socket; then `nodes` is empty."""
    username: str = ""
    password: str = ""
    db: int = 0
    tls: Tls | None = None
    master: str = ""
    sentinel_username: str = ""
    sentinel_password: str = ""
    connect_timeout: float = 2.0
    call_timeout: float = 3.0
    timeline: Timeline | None = None
    """What its links note of the tasks that they move; None is nothing."""

    def __repr__(self) -> str:
        return f"Endpoint({self})"

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        where = ",".join(f"{host}:{port}" for host, port in self.nodes)
        return where if self.topology is Topology.SINGLE else f"{self.topology} {where}"

    @property
    def login(self) -> dict[str, Any]:
        return {"username": self.username or None, "password": self.password or None}


# A peer that vanished without a word is noticed within about this time, in either direction.
_USER_TIMEOUT_MS = 5000


def keepalive_options() -> dict[int, int]:
    """Socket options by which a half-open connection is noticed."""
    options = {socket.TCP_KEEPIDLE: 3, socket.TCP_KEEPINTVL: 1, socket.TCP_KEEPCNT: 2}
    user_timeout = getattr(socket, "TCP_USER_TIMEOUT", None)
    if user_timeout is not None:
        options[user_timeout] = _USER_TIMEOUT_MS
    return options


def parse_addresses(addresses: list[str], **defaults: Any) -> Endpoint:
    """
    Return the endpoint that *addresses* describe; *defaults* are the settings beside them.

    One address is a single server (or a proxy), several are a cluster. A URL says what it is:
    redis:// rediss:// unix:// redis-sentinel:// redis-cluster://. What stands in a URL (user,
    password, database, master) wins over the defaults.

    Raises:
        ConfigError: An address cannot be read.
    """
    if not addresses:
        raise ConfigError(["redis.addrs is empty"], hint="Give at least one address.")
    if len(addresses) > 1 and any("://" in one for one in addresses):
        plain = {one.split("://")[0] for one in addresses}
        if plain - {"redis", "rediss"}:
            raise ConfigError(
                ["redis.addrs: several URLs must all be redis:// or rediss://"],
                hint="Name all hosts in one URL, separated by commas.",
            )
    parsed = [_parse_one(one, defaults) for one in addresses]
    first = parsed[0]
    if len(parsed) == 1:
        return first
    nodes = tuple(node for one in parsed for node in one.nodes)
    return Endpoint(**(_fields(first) | {"topology": Topology.CLUSTER, "nodes": nodes, "db": 0}))


def _fields(endpoint: Endpoint) -> dict[str, Any]:
    return {name: getattr(endpoint, name) for name in Endpoint.__struct_fields__}


def _parse_one(address: str, defaults: dict[str, Any]) -> Endpoint:
    if "://" not in address:
        if address.startswith("/"):
            return Endpoint(Topology.SINGLE, path=address, **defaults)
        return Endpoint(Topology.SINGLE, nodes=(_host_port(address, 6379),), **defaults)
    url = urlsplit(address)
    query = {key: values[-1] for key, values in parse_qs(url.query).items()}
    found = dict(defaults)
    userinfo, _, hosts = url.netloc.rpartition("@")
    username, _, password = userinfo.partition(":")
    if url.scheme in ("unix", "redis-socket"):
        if userinfo:
            found |= {"username": unquote(username), "password": unquote(password)}
        if "db" in query:
            found["db"] = int(query["db"])
        return Endpoint(Topology.SINGLE, path=unquote(hosts + url.path), **found)
    if url.path.strip("/"):
        found["db"] = int(url.path.strip("/"))
    if url.scheme == "rediss" and not found.get("tls"):
        found["tls"] = Tls()
    if url.scheme == "redis-sentinel":
        # As asynq reads it, the userinfo of this form is the sentinels' own.
        if userinfo:
            found |= {
                "sentinel_username": unquote(username),
                "sentinel_password": unquote(password),
            }
        found["master"] = query.get("master", found.get("master") or "mymaster")
        nodes = tuple(_host_port(one, 26379) for one in hosts.split(","))
        return Endpoint(Topology.SENTINEL, nodes=nodes, **found)
    if userinfo:
        found |= {"username": unquote(username), "password": unquote(password)}
    nodes = tuple(_host_port(one, 6379) for one in hosts.split(","))
    if url.scheme == "redis-cluster":
        return Endpoint(Topology.CLUSTER, nodes=nodes, **found)
    if url.scheme in ("redis", "rediss"):
        kind = Topology.SINGLE if len(nodes) == 1 else Topology.CLUSTER
        return Endpoint(kind, nodes=nodes, **found)
    raise ConfigError(
        [f"redis.addrs: unknown scheme {url.scheme!r}"],
        hint="Use redis:// rediss:// unix:// redis-sentinel:// or redis-cluster://",
    )


def _host_port(text: str, default: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text.strip("[]") or "127.0.0.1", default
    if not port.isdigit():
        raise ConfigError([f"redis.addrs: {text!r} has no port number after the colon"])
    return host.strip("[]") or "127.0.0.1", int(port)
