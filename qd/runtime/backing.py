"""What a worker does in Redis for the handlers that it runs; one for all of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from qd.broker.async_link import AsyncLink
from qd.errors import LeaseLost, UsageError
from qd.handlers.context import Context
from qd.protocol.op import Op
from qd.protocol.ops import endings
from qd.protocol.ops.endings import Fate
from qd.runtime.progress import ProgressWriter
from qd.runtime.run import Run

T = TypeVar("T")


class WorkerBacking:
    """Made on the event loop. *run_of* gives the run of a context, None when it has ended."""

    def __init__(
        self,
        link: AsyncLink,
        owner: str,
        run_of: Callable[[Context], Run | None],
        *,
        queue_prefix: str,
        once_keep: float,
    ) -> None:
        self.queue_prefix = queue_prefix
        self.once_keep = once_keep
        self._link = link
        self._owner = owner
        self._run_of = run_of
        self._progress = ProgressWriter(link, owner, run_of)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    async def execute(self, op: Op[T]) -> T:
        return await self._link.execute(op)

    def blocking(self, work: Coroutine[Any, Any, T], instead: str) -> T:
        if threading.get_ident() == self._thread:
            work.close()
            raise UsageError(
                "this would block the event loop for ever",
                hint=f"Use `{instead}` in asynchronous handlers.",
            )
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def progressed(self, context: Context) -> None:
        self._progress.changed(context)

    def ending(self, run: Run) -> None:
        """A run that has news of its progress is about to end."""
        self._progress.last(run)

    async def write_result(self, context: Context, result: bytes) -> None:
        while True:
            run = self._run_of(context)
            if run is None:
                raise LeaseLost
            sent = run.held
            step = endings.write_result(run.queue, self._owner, sent, result)
            fate = await self._link.execute(step)
            if fate is Fate.OK:
                return
            # Stale to Redis, but only because the heartbeat renewed the lease at the same time.
            if fate is not Fate.STALE or run.held == sent:
                raise LeaseLost
