"""All that a server holds, as plain values: to say what an operation has changed, and what not."""

from __future__ import annotations

from typing import Any

import redis

Snapshot = dict[str, Any]


def snapshot(raw: redis.Redis) -> Snapshot:
    """Every key with its value: strings as bytes, lists as lists, sets, zsets and hashes as dicts."""
    client: Any = raw
    found: Snapshot = {}
    for key in client.keys("*"):
        kind = client.type(key)
        name = key.decode("utf-8", "backslashreplace")
        if kind == b"string":
            found[name] = client.get(key)
        elif kind == b"list":
            found[name] = [_text(one) for one in client.lrange(key, 0, -1)]
        elif kind == b"set":
            found[name] = {_text(one) for one in client.smembers(key)}
        elif kind == b"zset":
            found[name] = {_text(one): at for one, at in client.zrange(key, 0, -1, withscores=True)}
        elif kind == b"hash":
            found[name] = {_text(field): value for field, value in client.hgetall(key).items()}
        else:
            raise AssertionError(f"{name} is a {kind!r}, which no queue has")
    return found


def changes(before: Snapshot, after: Snapshot) -> Snapshot:
    """What is different: the new value of each key, None for a key that is gone."""
    return {
        key: after.get(key)
        for key in before.keys() | after.keys()
        if before.get(key) != after.get(key)
    }


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
