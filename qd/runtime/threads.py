"""
Threads for synchronous handlers.

Results go back to the loop in one wake-up for all that are ready. A handler is told to stop by an
exception raised in its thread, which code inside of C does not notice until it returns.
"""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any

from qd.errors import LeaseLost, TaskCancelled, TaskTimeout
from qd.runtime.run import Run, Stop

_raise_in_thread = ctypes.pythonapi.PyThreadState_SetAsyncExc
_raise_in_thread.argtypes = (ctypes.c_ulong, ctypes.py_object)
# A null pointer; None would be raised as if it were an exception.
_NOTHING = ctypes.py_object()

_EXCEPTIONS = {
    Stop.TIMEOUT: TaskTimeout,
    Stop.CANCEL: TaskCancelled,
    Stop.LEASE_LOST: LeaseLost,
    Stop.PUT_BACK: TaskCancelled,
}

Job = tuple[Run, Callable[[], Any], contextvars.Context, "asyncio.Future[Any]"]


class Threads:
    """At most *count* threads, started as they are needed."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._started = 0
        self._busy = 0
        self._finished: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        # Held while a thread's run is looked at from outside, so that an exception meant for one
        # task never reaches the next.
        self._lock = threading.Lock()

    async def call(self, run: Run, function: Callable[[], Any]) -> Any:
        """
        Run *function* in a thread, with a copy of the caller's context variables.

        Cancelling the caller does not stop it, `interrupt` does.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._busy >= self._started and self._started < self._count:
            self._started += 1
            name = f"qd-handler-{self._started}"
            threading.Thread(target=self._work, name=name, daemon=True).start()
        self._busy += 1
        self._jobs.put((run, function, contextvars.copy_context(), future))
        # Shielded: the run ends when its thread has ended, not when somebody stops waiting.
        return await asyncio.shield(future)

    def interrupt(self, run: Run) -> None:
        """Raise the exception for `run.stop` inside the handler, if it is running."""
        with self._lock:
            if run.thread and run.stop is not None:
                _raise_in_thread(run.thread, ctypes.py_object(_EXCEPTIONS[run.stop]))

    def replace_lost(self) -> None:
        """A thread never came back: allow one more in its place."""
        self._count += 1

    def close(self) -> None:
        """Let idle threads end; those that run a handler are left to themselves."""
        for _ in range(self._started):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            run, function, context, future = job
            result, error = self._call(run, partial(context.run, function))
            notify = not self._finished
            self._finished.append((future, result, error))
            if notify:
                try:
                    self._loop.call_soon_threadsafe(self._deliver)
                except RuntimeError:
                    return  # the loop is closed: the process is on its way out

    def _call(self, run: Run, function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
        result, error = None, None
        identifier = threading.get_ident()
        try:
            with self._lock:
                run.thread = identifier
            if run.stop is not None:
                raise _EXCEPTIONS[run.stop]()
            result = function()
        except BaseException as raised:  # noqa: BLE001 - whatever a handler raises is its outcome
            error = raised
        while run.thread:
            try:
                with self._lock:
                    if run.stop is not None:
                        # An exception that was sent but not raised yet is taken back.
                        _raise_in_thread(identifier, _NOTHING)
                    run.thread = 0
            except BaseException as raised:  # noqa: BLE001 - it arrived just now
                error = error or raised
        return result, error

    def _deliver(self) -> None:
        while self._finished:
            future, result, error = self._finished.popleft()
            self._busy -= 1
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            elif isinstance(error, StopIteration):
                future.set_exception(RuntimeError(f"handler raised StopIteration: {error}"))
            else:
                future.set_exception(error)
