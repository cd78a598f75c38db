"""
All that a database holds, in a form that can be compared and kept as JSON.

Times are seconds since the present of the sequence, so that a recording never grows old. Messages are
taken apart by a reader of the wire format of our own: one that comes from what is being tested would
hide its mistakes. What qd adds of its own, keys `qd:*` and fields `qd_*`, is left out.
"""

from __future__ import annotations

import base64
import datetime as dt
import functools
from typing import Any

import redis

QUEUE = "mail"
PREFIX = f"asynq:{{{QUEUE}}}:"

View = dict[str, dict[str, Any]]
"""By key: {"type", "ttl" (seconds or None), "value"}; zsets are {member: score}, sets sorted."""

_DUMP = """
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
return out
"""

# Time passes by making all that is written older: clocks cannot be moved, and leases, schedules,
# retentions and deadlines of sets are nothing but scores.
_AGE = """
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local kind = redis.call('TYPE', key).ok
  if kind == 'zset' then
    local all = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for i = 1, #all, 2 do
      redis.call('ZADD', key, all[i + 1] - ARGV[2], all[i])
    end
  elseif string.sub(key, 1, #ARGV[1] + 7) == ARGV[1] .. 'unique:' then
    local left = redis.call('PTTL', key) - ARGV[2] * 1000
    if left < 5000 then
      redis.call('DEL', key)
    else
      redis.call('PEXPIRE', key, left)
    end
  end
end
"""

_FIELDS = {
    1: "type", 2: "payload", 3: "id", 4: "queue", 5: "retry", 6: "retried", 7: "error_msg",
    8: "timeout", 9: "deadline", 10: "unique_key", 11: "last_failed_at", 12: "retention",
    13: "completed_at", 14: "group_key", 15: "headers",
}  # fmt: skip
_MOMENTS = {"deadline", "last_failed_at", "completed_at"}
_TTL_TOLERANCE = 2.0


class Store:
    """One database, looked at and changed from outside. `now` is the present, in Unix seconds."""

    def __init__(self, client: redis.Redis, now: int) -> None:
        self.client: Any = client
        self._now = now

    def view(self) -> View:
        return view_of(self.client.eval(_DUMP, 0), self._now)

    def age(self, seconds: int) -> None:
        """Let so much time pass for everything in the queue."""
        self.client.eval(_AGE, 0, PREFIX, seconds)

    def lose(self, task_id: str) -> None:
        """Lose the hash of a task, as by an eviction."""
        self.client.delete(PREFIX + "t:" + task_id)

    def copy(self, keys: set[str], source: Store) -> None:
        """Make these keys the same as in *source*."""
        for key in keys:
            content = source.client.dump(key)
            if content is None:
                self.client.delete(key)
            else:
                left = max(source.client.pttl(key), 0)
                self.client.restore(key, left, content, replace=True)


def view_of(reply: Any, now: int) -> View:
    today = dt.datetime.fromtimestamp(now, dt.UTC).date().isoformat()
    view: View = {}
    for raw_key, raw_kind, ttl_ms, value in reply:
        key, kind = raw_key.decode(), raw_kind.decode()
        if key.startswith("qd:"):
            continue
        view[key.replace(today, "TODAY")] = {
            "type": kind,
            "ttl": None if ttl_ms < 0 else round(ttl_ms / 1000),
            "value": _value(key, kind, value, now),
        }
    return view


def _value(key: str, kind: str, value: Any, now: int) -> Any:
    if kind == "string":
        return int(value) - now if key.endswith(":paused") else _text(value)
    if kind == "list":
        return [_text(one) for one in value]
    if kind == "set":
        return sorted(_text(one) for one in value)
    pairs = dict(zip(value[::2], value[1::2], strict=True))
    if kind == "zset":
        return {_text(one): _number(float(score) - now) for one, score in sorted(pairs.items())}
    fields = {_text(name): content for name, content in sorted(pairs.items())}
    return {
        name: _field(name, content, now)
        for name, content in fields.items()
        if not name.startswith("qd_")
    }


def _field(name: str, content: bytes, now: int) -> Any:
    if name == "msg":
        message = dict(decoded(content))
        for moment in _MOMENTS & message.keys():
            message[moment] -= now
        return message
    if name == "pending_since":
        return _number(int(content) / 1e9 - now)
    return _text(content)


def _number(value: float) -> int | float:
    return int(value) if value == int(value) else round(value, 3)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(raw).decode()


@functools.lru_cache(maxsize=4096)
def decoded(message: bytes) -> dict[str, Any]:
    """The fields of a TaskMessage that are there; the result is shared, do not change it."""
    fields: dict[str, Any] = {}
    for number, value in _wire(message):
        name = _FIELDS[number]
        if name == "headers":
            entry = {part: _text(raw) for part, raw in _wire(value)}
            fields.setdefault("headers", {})[entry[1]] = entry.get(2, "")
        else:
            fields[name] = value if isinstance(value, int) else _text(value)
    return fields


def _wire(data: bytes) -> list[tuple[int, Any]]:
    fields: list[tuple[int, Any]] = []
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        value, at = _varint(data, at)
        if tag & 7 == 2:
            fields.append((tag >> 3, data[at : at + value]))
            at += value
        else:
            assert tag & 7 == 0, f"no field of a task has wire type {tag & 7}"
            fields.append((tag >> 3, value))
    return fields


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def content(view: View, name: str) -> Any:
    """What is under a key of the queue, by the key's last part; None if nothing is."""
    found = view.get(PREFIX + name)
    return found["value"] if found else None


def listed(view: View) -> dict[str, list[str]]:
    """Where each id stands: task id -> last parts of the keys of its containers."""
    places: dict[str, list[str]] = {}
    for key, entry in view.items():
        name = key.removeprefix(PREFIX)
        if name in _CONTAINERS or (name.startswith("g:") and entry["type"] == "zset"):
            for one in entry["value"]:
                places.setdefault(one, []).append(name)
    return places


_CONTAINERS = {"pending", "active", "scheduled", "retry", "archived", "completed"}


def ghosts(view: View) -> set[str]:
    """Ids that are listed although there is no message for them."""
    return {one for one in listed(view) if "msg" not in (content(view, f"t:{one}") or {})}


def same_ttl(one: int | None, other: int | None, slack: float) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= _TTL_TOLERANCE + slack
