"""
An event loop in a thread of its own, for tests that have none.

While a test waits, its thread runs the synchronous handlers: they find there what the test has opened,
such as a database connection with a transaction that nobody else sees.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

import uvloop

from qd.errors import TimedOut

T = TypeVar("T")

_PATIENCE = 10.0
"""Seconds that the loop has to end what was left on it."""


class Loop:
    """Started on first use, ended by `close`. One thread at a time may wait."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        """True if this is called by what runs on it."""
        return self._loop is not None and asyncio.get_running_loop() is self._loop

    def lend(self, work: Callable[[], None]) -> None:
        """Have the thread that waits do *work* meanwhile; called on the loop."""
        self._jobs.put(work)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* to its end, and return what it returns."""
        if self._thread is None:
            ready: SimpleQueue[asyncio.AbstractEventLoop] = SimpleQueue()
            self._thread = threading.Thread(
                target=self._run, args=(ready,), name="qd-kit", daemon=True
            )
            self._thread.start()
            self._loop = ready.get()
        assert self._loop is not None  # noqa: S101 - it was just started
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        future.add_done_callback(lambda _: self._jobs.put(None))
        try:
            while (job := self._jobs.get()) is not None:
                job()
        except BaseException:
            # Ctrl-C, or a time limit of the test.
            future.cancel()
            raise
        return future.result()

    def close(self) -> None:
        """End the loop, and what is left on it."""
        if self._thread is None or self._loop is None:
            return
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            raise TimedOut(
                f"what handlers have left on the loop did not end within {_PATIENCE:g} s"
            )
        self._thread = self._loop = None

    def _run(self, ready: SimpleQueue[asyncio.AbstractEventLoop]) -> None:
        async def until_closed() -> None:
            ready.put(asyncio.get_running_loop())
            await self._stop.wait()

        # It cancels what is left.
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(until_closed())
