"""Makes tasks in every state through qd's own operations, and reads what became of them."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Mapping
from typing import Any

import redis

from qd.broker.async_link import AsyncLink
from qd.client.compose import Composer
from qd.config.tasks import RetrySettings
from qd.handlers.options import NO_OPTIONS, TaskOptions
from qd.handlers.retries import RetryRules
from qd.handlers.routing import Router
from qd.protocol import codec, keys
from qd.protocol.message import TaskMessage, Terms
from qd.protocol.ops import tasks
from qd.protocol.ops.tasks import NewTask, Taken

COMPOSER = Composer(NO_OPTIONS, queue_prefix="", payload_limit=1 << 20)


def no_options(task_type: str) -> TaskOptions:
    return NO_OPTIONS


def rules(router: Router | None = None, **retry: Any) -> RetryRules:
    return RetryRules(RetrySettings(**retry), {}, router or Router(), random.random)


class Lab:
    """One Redis. Ids are made as needed; `state` and `message` look at a task's hash."""

    def __init__(self, link: AsyncLink, raw: redis.Redis) -> None:
        self.link = link
        self.raw: Any = raw
        self._numbers = itertools.count(1)

    def new(
        self, queue: str = "q", *, process_at: int = 0, group: str = "", **terms: Any
    ) -> NewTask:
        task_id = f"t{next(self._numbers)}"
        payload = terms.pop("payload", b"{}")
        task_type = terms.pop("type", "demo")
        defaults: dict[str, Any] = {"queue": queue, "max_retry": 25, "timeout": 1800}
        message = TaskMessage(
            task_type, payload, task_id, Terms(**{**defaults, **terms}, group=group)
        )
        return NewTask(task_id, codec.encode_task(message), process_at=process_at, group=group)

    async def pending(self, queue: str = "q", **terms: Any) -> str:
        task = self.new(queue, **terms)
        await self.link.execute(tasks.announce([queue]))
        assert await self.link.execute(tasks.enqueue(queue, [task], now_ns=time.time_ns())) == [
            None
        ]
        return task.id

    async def scheduled(self, at: float, queue: str = "q", **terms: Any) -> str:
        task = self.new(queue, process_at=int(at), **terms)
        assert await self.link.execute(tasks.schedule(queue, [task])) == [None]
        return task.id

    async def grouped(self, group: str, now: float, queue: str = "q", **terms: Any) -> str:
        task = self.new(queue, group=group, **terms)
        assert await self.link.execute(tasks.add_to_group(queue, [task], now=int(now))) == [None]
        return task.id

    async def take(
        self, queue: str = "q", *, owner: str = "w1", lease_until: float, count: int = 10
    ) -> list[Taken]:
        """Take tasks as a worker of qd does."""
        step = tasks.dequeue(
            queue, count=count, owner=owner, nonce=str(next(self._numbers)),
            lease_until=int(lease_until),
        )  # fmt: skip
        taken = await self.link.execute(step)
        assert taken is not None
        return taken

    async def held_by_go(self, lease_until: float, queue: str = "q", **terms: Any) -> str:
        """A task that a Go server has taken: no owner is noted."""
        task_id = await self.pending(queue, **terms)
        self.raw.lrem(keys.pending(queue), 1, task_id)
        self.raw.lpush(keys.active(queue), task_id)
        self.raw.hset(keys.task(queue, task_id), "state", "active")
        self.raw.hdel(keys.task(queue, task_id), "pending_since")
        self.raw.zadd(keys.lease(queue), {task_id: int(lease_until)})
        return task_id

    def field(self, task_id: str, name: str, queue: str = "q") -> bytes | None:
        value: bytes | None = self.raw.hget(keys.task(queue, task_id), name)
        return value

    def state(self, task_id: str, queue: str = "q") -> str | None:
        """The state in the hash, after a check that exactly the container it names has the id."""
        value, places = self._look(task_id, queue)
        if value is None:
            assert places == []
            return None
        state = value.decode()
        expected = ["active", "lease"] if state == "active" else [state]
        if state != "aggregating":
            assert places == expected
        return state

    def places(self, task_id: str, queue: str = "q") -> list[str]:
        return self._look(task_id, queue)[1]

    def _look(self, task_id: str, queue: str) -> tuple[bytes | None, list[str]]:
        """All at one moment: loops may be running meanwhile."""
        prefix = keys.prefix(queue)
        lists = ("pending", "active")
        sets = ("lease", "scheduled", "retry", "archived", "completed")
        with self.raw.pipeline(transaction=True) as moment:
            moment.type(keys.task(queue, task_id))
            for container in lists:
                moment.lrange(prefix + container, 0, -1)
            for container in sets:
                moment.zscore(prefix + container, task_id)
            moment.hget(keys.task(queue, task_id), "state")
            kind, *found, state = moment.execute(raise_on_error=False)
        places = []
        for container, ids in zip(lists, found, strict=False):
            places += [container] * ids.count(task_id.encode())
        places += [one for one, score in zip(sets, found[2:], strict=True) if score is not None]
        return state if kind == b"hash" else None, places

    def ids(self, container: str, queue: str = "q") -> list[str]:
        """Ids of a list (next to run last) or a sorted set (lowest score first)."""
        key = f"{keys.prefix(queue)}{container}"
        raw = self.raw.lrange(key, 0, -1) if container in ("pending", "active") else None
        found = self.raw.zrange(key, 0, -1) if raw is None else raw
        return [one.decode() for one in found]

    def message(self, task_id: str, queue: str = "q") -> TaskMessage:
        stored = self.field(task_id, "msg", queue)
        assert stored is not None
        return codec.decode_task(stored)

    def calls(self) -> Mapping[str, int]:
        """How often each command was called since the server's counters were reset."""
        stats = self.raw.info("commandstats")
        return {name.removeprefix("cmdstat_"): one["calls"] for name, one in stats.items()}
