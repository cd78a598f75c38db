"""Checks the shape of the addresses of Redis servers."""

from __future__ import annotations

import ipaddress
import re

from qd.config.secrets import SecretUrl, mask_url
from qd.suggest import did_you_mean

SCHEMES = ("redis", "rediss", "unix", "redis-sentinel", "redis-cluster")


def split_redis_addresses(text: str) -> list[str]:
    """Return the addresses in a text with commas; those inside one URL do not divide it."""
    comma = r",(?=\s*[\w+.-]+://)" if "://" in text else ","
    return [part.strip() for part in re.split(comma, text) if part.strip()]


def check_redis_address(text: str) -> SecretUrl:
    """Return the address if `text` is `host:port` or a URL that qd understands, else raise ValueError."""
    if not text or any(letter.isspace() or not letter.isprintable() for letter in text):
        raise ValueError("an address must not be empty or hold blanks; in a URL write them %20")
    scheme, mark, rest = text.partition("://")
    if not mark:
        if text.startswith("/"):
            raise ValueError(f'"{text}" is a path; write unix://{text}')
        _check_host_and_port(text, text)
        return SecretUrl(text)
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise ValueError(f"{scheme}:// is not one of {known}.{did_you_mean(scheme, SCHEMES)}")
    if scheme == "unix":
        if not rest.rpartition("@")[2].startswith("/"):
            raise ValueError(f'"{mask_url(text)}" has no path; write unix:///run/redis.sock')
        return SecretUrl(text)
    authority, _, behind = rest.partition("?")[0].partition("/")
    if "@" in behind:
        raise ValueError('a "/" in a password is written %2F in a URL; or set redis.password')
    servers = authority.rpartition("@")[2]
    for server in servers.split(","):
        _check_host_and_port(server, mask_url(text), port_needed=False)
    return SecretUrl(text)


def check_listen_address(text: str) -> str:
    """Return the address if it is empty, `host:port` or `unix:///path`, else raise ValueError."""
    if text.startswith("unix://"):
        if not text.removeprefix("unix://").startswith("/"):
            raise ValueError(f'"{text}" has no path; write unix:///run/qd/monitor.sock')
    elif text:
        _check_host_and_port(text, text)
    return text


def is_loopback(text: str) -> bool:
    """Whether only programs of this host reach a checked listen address."""
    host = text.rpartition(":")[0].strip("[]")
    if text.startswith("unix://") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_host_and_port(server: str, shown: str, *, port_needed: bool = True) -> None:
    # An IPv6 address stands in brackets, so that its colons are not taken for the port's.
    host, bracket, after = server.rpartition("]")
    if bracket:
        host, port = host.removeprefix("["), after.removeprefix(":")
    else:
        host, _, port = server.partition(":")
    if not host:
        raise ValueError(f'"{shown}" has no host; write host:port')
    if not port and not port_needed:
        return
    if not port:
        raise ValueError(f'"{shown}" has no port; write {server}:6379')
    if not (port.isascii() and port.isdecimal() and int(port) <= 65535):
        raise ValueError(f'"{shown}" has no valid port; write host:port with a port up to 65535')
