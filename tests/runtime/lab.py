"""One worker in the test's own loop, built as `qd worker` builds it, on a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import redis

from qd.app.app import App
from qd.app.workers import RunningWorker, start_worker
from qd.client.info import TaskInfo
from qd.config.load import from_mapping
from qd.protocol import codec, keys
from qd.protocol.message import TaskMessage, Terms
from qd.protocol.ops import tasks
from qd.protocol.ops.tasks import NewTask
from qd.runtime.worker import Worker
from tests.support.builders import NOW_NS
from tests.support.wait import aeventually

QUEUE = "q"


class Lab:
    """
    An application with handlers, a worker that runs them, and a look at what Redis holds.

    Declare handlers on `app`, `start()`, `enqueue()`; the worker is stopped with the test.
    *queues* and *worker* are the settings of those names.
    """

    def __init__(self, url: str, raw: redis.Redis) -> None:
        self.url = url
        self.raw: Any = raw
        self.app = App("lab", config=self.settings())
        self.running: RunningWorker | None = None
        self.unstoppable: list[bool] = []
        self.noted: list[tuple[str, float | None]] = []

    def settings(
        self,
        *,
        queues: Mapping[str, int] | None = None,
        worker: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        return {
            "redis": {"addrs": [self.url]},
            "queues": dict(queues or {QUEUE: 1}),
            "defaults": {"queue": next(iter(queues or [QUEUE]))},
            "worker": dict(worker or {}),
            **more,
        }

    def configure(self, **settings: Any) -> None:
        """Before `start` and `enqueue`: other settings than the defaults."""
        self.app.configure(from_mapping(self.settings(**settings)))

    async def start(self) -> Worker:
        self.running = await start_worker(
            self.app,
            self.app.connection.endpoint,
            note_running=lambda key, until: self.noted.append((key, until)),
            on_unstoppable=lambda: self.unstoppable.append(True),
        )
        return self.running.worker

    @property
    def worker(self) -> Worker:
        assert self.running is not None, "the worker is not started"
        return self.running.worker

    async def stop(self, within: float = 5.0) -> None:
        running, self.running = self.running, None
        if running is not None:
            await running.stop(within)

    async def close(self) -> None:
        await self.stop(0)
        await self.app.client.aclose()
        self.app.close()

    async def enqueue(self, task_type: str, payload: Any = None, **options: Any) -> TaskInfo:
        return await self.app.client.aenqueue(task_type, payload, **options)

    def store(
        self,
        task_id: str,
        *,
        task_type: str = "work",
        payload: bytes = b"{}",
        queue: str = QUEUE,
        message: bytes | None = None,
        **terms: Any,
    ) -> None:
        """Put a pending task there byte for byte as given, as another program could."""
        said = Terms(**{"queue": queue, "max_retry": 25, "timeout": 1800, **terms})
        stored = codec.encode_task(TaskMessage(task_type, payload, task_id, said))
        step = tasks.enqueue(
            queue, [NewTask(task_id, stored if message is None else message)], now_ns=NOW_NS
        )
        link = self.app.client._sync_link()
        assert link.execute(step) == [None]

    def state(self, task_id: str, queue: str = QUEUE) -> str:
        """The state of a task, empty when it is gone."""
        value = self.raw.hget(keys.task(queue, task_id), "state")
        return "" if value is None else str(value.decode())

    def message(self, task_id: str, queue: str = QUEUE) -> TaskMessage:
        return codec.decode_task(self.raw.hget(keys.task(queue, task_id), "msg"))

    def error(self, task_id: str, queue: str = QUEUE) -> str:
        return self.message(task_id, queue).terms.error

    async def settled(self, task_id: str, queue: str = QUEUE, within: float = 5.0) -> str:
        """Wait until a task is neither pending nor active; its state then, empty when gone."""

        def look() -> tuple[str] | None:
            state = self.state(task_id, queue)
            return None if state in ("pending", "active") else (state,)

        found = await aeventually(look, within)
        assert found is not None
        return found[0]

    async def run(self, task_type: str, payload: Any = None, **options: Any) -> tuple[str, str]:
        """Enqueue a task and wait for its end: its id and its state."""
        info = await self.enqueue(task_type, payload, **options)
        return info.id, await self.settled(info.id)


async def soon(event: asyncio.Event, within: float = 5.0) -> None:
    """Wait for an event of a handler."""
    async with asyncio.timeout(within):
        await event.wait()
