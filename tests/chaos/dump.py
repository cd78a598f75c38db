"""
All that a server holds, read in one step with redis-py and google.protobuf alone.

The judge and the invariants look at this and not at qd's own readers: a mistake of theirs would
hide itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import redis
from google.protobuf.message import DecodeError

from tests.property.asynq_proto import TaskMessage

_READ = """
local out = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind = redis.call('TYPE', key).ok
  local value
  if kind == 'string' then
    value = redis.call('GET', key)
  elseif kind == 'list' then
    value = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'set' then
    value = redis.call('SMEMBERS', key)
  elseif kind == 'zset' then
    value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  else
    value = redis.call('HGETALL', key)
  end
  out[#out + 1] = { key, kind, redis.call('PTTL', key), value }
end
return { redis.call('TIME')[1], out }
"""
_QUEUE_KEY = re.compile(r"asynq:\{(.*?)\}:(.*)", re.DOTALL)


class Key(NamedTuple):
    """*ttl* is in seconds, None without one. Zsets are {member: score}, hashes {field: bytes}."""

    kind: str
    ttl: float | None
    value: Any


class Task(NamedTuple):
    """The hash of one task. *message* is None if it cannot be read."""

    queue: str
    id: str
    state: str
    owner: str
    ttl: float | None
    message: Any

    @property
    def retried(self) -> int:
        return self.message.retried if self.message is not None else 0


@dataclass
class Queue:
    """The containers of one queue; `others` are keys that belong to none of them, by their suffix."""

    pending: list[str] = field(default_factory=list)
    active: list[str] = field(default_factory=list)
    lease: dict[str, float] = field(default_factory=dict)
    scheduled: dict[str, float] = field(default_factory=dict)
    retry: dict[str, float] = field(default_factory=dict)
    archived: dict[str, float] = field(default_factory=dict)
    completed: dict[str, float] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)
    aggregation_sets: dict[str, float] = field(default_factory=dict)
    others: dict[str, Key] = field(default_factory=dict)


@dataclass
class Dump:
    """*now* is the clock of the server, in Unix seconds."""

    now: int
    keys: dict[str, Key]
    queues: dict[str, Queue]
    tasks: list[Task]

    def counter(self, queue: str, name: str) -> int:
        """The value of `processed`, `failed`, or one of their days."""
        found = self.queues[queue].others.get(name)
        return int(found.value) if found is not None else 0


def read(client: redis.Redis) -> Dump:
    """Everything at one moment; for a store of some 10,000 tasks, not of millions."""
    now, rows = client.eval(_READ, 0)  # type: ignore[misc]
    keys = {_text(name): _key(kind, ttl, value) for name, kind, ttl, value in rows}
    dump = Dump(int(now), keys, {}, [])
    for name, key in keys.items():
        found = _QUEUE_KEY.fullmatch(name)
        if found is None:
            continue
        queue, suffix = found.groups()
        place = dump.queues.setdefault(queue, Queue())
        if suffix.startswith("t:") and key.kind == "hash":
            dump.tasks.append(_task(queue, suffix[2:], key))
        elif suffix in Queue.__dataclass_fields__ and suffix != "others":
            setattr(place, suffix, key.value)
        else:
            place.others[suffix] = key
    return dump


def _task(queue: str, task_id: str, key: Key) -> Task:
    message = None
    if "msg" in key.value:
        try:
            message = TaskMessage.FromString(key.value["msg"])
        except DecodeError:
            message = None  # The invariants say which task it is.
    state, owner = (key.value.get(name, b"").decode() for name in ("state", "qd_owner"))
    return Task(queue, task_id, state, owner, key.ttl, message)


def _key(kind: bytes, ttl: int, value: Any) -> Key:
    name = kind.decode()
    if name in ("list", "set"):
        value = [_text(one) for one in value]
    elif name == "zset":
        value = {_text(one): float(at) for one, at in zip(value[::2], value[1::2], strict=True)}
    elif name == "hash":
        value = {_text(one): data for one, data in zip(value[::2], value[1::2], strict=True)}
    return Key(name, ttl / 1000 if ttl >= 0 else None, value)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
