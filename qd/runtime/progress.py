"""Brings the progress of running tasks to Redis, at most twice a second, whatever handlers do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable

from msgspec.structs import replace

from qd import clock
from qd.broker.async_link import AsyncLink
from qd.errors import BrokerError
from qd.handlers.context import Context
from qd.protocol import constants
from qd.protocol.ops import endings
from qd.protocol.ops.endings import Held
from qd.protocol.progress import encode
from qd.runtime.run import Run

_INTERVAL = 0.5


class ProgressWriter:
    """
    Collects what contexts have to tell. `changed` may be called from any thread, all else on the loop.

    Progress is good to know and nothing depends on it: what Redis does not take is lost, and so may
    be the last word of the first run on a server that does not know the script yet.
    """

    def __init__(
        self, link: AsyncLink, owner: str, run_of: Callable[[Context], Run | None]
    ) -> None:
        self._link = link
        self._owner = owner
        self._run_of = run_of
        self._loop = asyncio.get_running_loop()
        self._changed: deque[Context] = deque()
        self._armed = False
        self._written_at = -_INTERVAL
        self._writing: set[asyncio.Task[None]] = set()
        self._log = logging.getLogger("qd.progress")

    def changed(self, context: Context) -> None:
        """Write the progress of a run soon: at once if nothing was written for a while."""
        self._changed.append(context)
        if not self._armed:
            self._armed = True
            # A thread may outlive the loop.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._arm)

    def last(self, run: Run) -> None:
        """A run that has news is about to end: write them before its outcome is written."""
        self._send([run])

    def _flush(self) -> None:
        self._armed = False
        self._written_at = self._loop.time()
        found = [self._run_of(self._changed.popleft()) for _ in range(len(self._changed))]
        self._send([run for run in found if run is not None])

    def _send(self, runs: list[Run]) -> None:
        by_queue: dict[str, list[tuple[Held, bytes]]] = {}
        for run in runs:
            said = run.context.take_progress() if run.context is not None else None
            if said is not None:
                dated = encode(replace(said, at=clock.now()))
                by_queue.setdefault(run.queue, []).append((run.held, dated))
        if by_queue:
            task = self._loop.create_task(self._write(by_queue))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    def _arm(self) -> None:
        pause = self._written_at + _INTERVAL - self._loop.time()
        self._loop.call_later(max(pause, 0), self._flush)

    async def _write(self, by_queue: dict[str, list[tuple[Held, bytes]]]) -> None:
        steps = [
            endings.note_progress(queue, self._owner, members[start : start + constants.BATCH_MAX])
            for queue, members in by_queue.items()
            for start in range(0, len(members), constants.BATCH_MAX)
        ]
        try:
            await self._link.execute_many(steps)
        except BrokerError as error:
            self._log.debug("progress was not written: %s", error)
