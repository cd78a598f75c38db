"""Queues as asynq would have written them, and what must hold of every queue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from qd.protocol import codec, keys
from qd.protocol.message import TaskMessage, Terms
from qd.protocol.state import TaskState

NOW = 1_767_225_600
"""2026-01-01T00:00:00Z: what the inspector of the tests takes for the present."""

_SETS = {
    "scheduled": keys.scheduled,
    "retry": keys.retry,
    "archived": keys.archived,
    "completed": keys.completed,
}


class Store:
    """One queue, written key by key."""

    def __init__(self, raw: redis.Redis, queue: str = "mail") -> None:
        self.raw: Any = raw
        self.queue = queue
        raw.sadd(keys.QUEUES, queue)

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is put within the block goes to the server in one piece, at its end."""
        raw = self.raw
        with raw.pipeline(transaction=False) as pipe:
            self.raw = pipe
            try:
                yield
            finally:
                self.raw = raw
            pipe.execute()

    def put(
        self,
        task_id: str,
        state: str,
        *,
        at: float = NOW,
        group: str = "",
        payload: bytes = b'{"n":1}',
        message: bytes | None = None,
        lease: float | None = NOW + 30,
        unique_key: str = "",
        lock_in_hash: bool = True,
        fields: dict[str, Any] | None = None,
        **terms: Any,
    ) -> bytes:
        """Store a task; `at` is its score. Returns the bytes of its message."""
        if message is None:
            said = Terms(
                queue=self.queue, max_retry=25, group=group, unique_key=unique_key, **terms
            )
            message = codec.encode_task(TaskMessage("email:send", payload, task_id, said))
        found: dict[str, Any] = {"msg": message, "state": state, **(fields or {})}
        if group:
            found["group"] = group
        if unique_key:
            self.raw.set(unique_key, task_id, ex=1000)
            if lock_in_hash:
                found["unique_key"] = unique_key
        if state == "pending":
            found.setdefault("pending_since", NOW * 10**9 - 5 * 10**9)
        self.raw.hset(self.key(task_id), mapping=found)
        self.list_as(task_id, state, at=at, group=group, lease=lease)
        return message

    def list_as(
        self, task_id: str, state: str, *, at: float = NOW, group: str = "", lease: float | None
    ) -> None:
        """Put an id into the container of a state, whether there is a hash or not."""
        if state == "pending":
            self.raw.lpush(keys.pending(self.queue), task_id)
        elif state == "active":
            self.raw.lpush(keys.active(self.queue), task_id)
            if lease is not None:
                self.raw.zadd(keys.lease(self.queue), {task_id: lease})
        elif state == "aggregating":
            self.raw.zadd(keys.group(self.queue, group), {task_id: at})
            self.raw.sadd(keys.groups(self.queue), group)
        else:
            self.raw.zadd(_SETS[state](self.queue), {task_id: at})

    def key(self, task_id: str) -> str:
        return keys.task(self.queue, task_id)

    def hash(self, task_id: str) -> dict[str, bytes]:
        return {k.decode(): v for k, v in self.raw.hgetall(self.key(task_id)).items()}

    def message(self, task_id: str) -> TaskMessage:
        return codec.decode_task(self.raw.hget(self.key(task_id), "msg"))

    def ids(self, state: str, group: str = "") -> list[str]:
        """The ids of a container, as they are stored."""
        if state in ("pending", "active"):
            key = keys.pending if state == "pending" else keys.active
            found = self.raw.lrange(key(self.queue), 0, -1)
        elif state == "aggregating":
            found = self.raw.zrange(keys.group(self.queue, group), 0, -1)
        else:
            found = self.raw.zrange(_SETS[state](self.queue), 0, -1)
        return [one.decode() for one in found]

    def dump(self) -> dict[bytes, Any]:
        """Every key with its content, to compare before and after."""
        stored = sorted(self.raw.keys("*"))
        with self.raw.pipeline(transaction=False) as pipe:
            for key in stored:
                pipe.dump(key)
            return dict(zip(stored, pipe.execute(), strict=True))

    def check(self) -> None:
        """Every hash is in exactly the container its state names, and every listed id has one."""
        places: dict[str, list[str]] = {}
        for state in TaskState:
            groups = [one.decode() for one in self.raw.smembers(keys.groups(self.queue))]
            for group in groups if state == "aggregating" else [""]:
                for task_id in self.ids(state, group):
                    places.setdefault(task_id, []).append(state)
        prefix = keys.task_prefix(self.queue)
        stored = list(self.raw.scan_iter(prefix + "*", count=1000))
        with self.raw.pipeline(transaction=False) as pipe:
            for key in stored:
                pipe.hget(key, "state")
            states = pipe.execute()
        hashes = {
            key.decode()[len(prefix) :]: [state.decode()]
            for key, state in zip(stored, states, strict=True)
        }
        assert places == hashes
        for group in self.raw.smembers(keys.groups(self.queue)):
            assert self.raw.zcard(keys.group(self.queue, group.decode())) > 0
