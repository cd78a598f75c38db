"""All tasks under this worker's lease, by their keys in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from qd.runtime.run import Run


class HeldTasks:
    """
    What this worker holds: waiting for a slot, running, or ended and not yet written to Redis.

    The heartbeat thread reads it while the loop changes it.
    """

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._emptied = asyncio.Event()

    def add(self, run: Run) -> None:
        self._runs[run.key] = run

    def discard(self, run: Run) -> None:
        """Forget a run, unless its place was taken by a later run of the same task."""
        if self._runs.get(run.key) is run:
            del self._runs[run.key]
            if not self._runs:
                self._emptied.set()

    async def wait_empty(self) -> None:
        """Wait until nothing is held."""
        while self._runs:
            self._emptied.clear()
            await self._emptied.wait()

    def snapshot(self) -> list[Run]:
        # list() of a dict's values is one step for the interpreter, so threads may call this.
        return list(self._runs.values())

    def by_id(self, task_id: str) -> list[Run]:
        """Runs with this id, in whatever queue: a cancellation names no queue."""
        return [run for run in self._runs.values() if run.message.id == task_id]

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self.snapshot())
