"""
Threads for synchronous handlers.

Handlers that are done in microseconds are handed to a thread many at once, for waking a thread costs
more than they do; all others have a thread each, and so have those that turn out to be behind one
that takes long. Results go back to the loop in one wake-up for all that are ready. A handler is told
to stop by an exception raised in its thread, which code inside of C does not notice until it returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import ctypes
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from msgspec import Struct

from qd.errors import LeaseLost, TaskCancelled, TaskTimeout
from qd.runtime.run import Run, Stop

_set_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc
_set_exception.argtypes = (ctypes.c_ulong, ctypes.py_object)
# A null pointer; None would be raised as if it were an exception.
_NOTHING = ctypes.py_object()

_EXCEPTIONS: dict[Stop, type[BaseException]] = {
    Stop.TIMEOUT: TaskTimeout,
    Stop.CANCEL: TaskCancelled,
    Stop.LEASE_LOST: LeaseLost,
    Stop.PUT_BACK: TaskCancelled,
}

_SHORT = 0.0001
"""Seconds that a kind of handlers takes on average, if they are to share a thread."""

_PORTION = 0.001
"""Seconds that the handlers of one portion take together, going by their averages."""

_STUCK = 0.003
"""Seconds after which what is left of a portion gets threads of its own; at most twice that."""

_WEIGHT = 0.1
"""Of the latest run, in the average of its kind."""


class _Job(Struct):
    kind: str
    run: Run
    function: Callable[..., Any]
    args: tuple[Any, ...]
    context: contextvars.Context
    future: asyncio.Future[Any]


class _End(Struct):
    """What came of a job, if there was one; its thread is `free` if nothing is left of the portion."""

    future: asyncio.Future[Any] | None
    result: Any
    error: BaseException | None
    free: bool


Portion = deque[_Job]
"""What one thread does one after the other. Whoever takes a job out of it does it."""

StartThread = Callable[[Callable[[], None], str], None]
"""Lets a function run in a thread with a name, until it returns."""


def raise_in_thread(identifier: int, error: type[BaseException]) -> None:
    """Raise *error* in a thread, at its next step in Python code."""
    _set_exception(identifier, ctypes.py_object(error))


def start_thread(function: Callable[[], None], name: str) -> None:
    """Start a new thread."""
    threading.Thread(target=function, name=name, daemon=True).start()


def lending(put: Callable[[Callable[[], None]], None]) -> StartThread:
    """
    Return what gives the first function, by *put*, to a thread that is there already, and waits for it.

    All further ones have new threads.
    """
    lent = False

    def start(function: Callable[[], None], name: str) -> None:
        nonlocal lent
        if lent:
            start_thread(function, name)
        else:
            lent = True
            put(function)

    return start


class Threads:
    """At most *count* threads, started with *start* as they are needed."""

    def __init__(self, count: int, start: StartThread = start_thread) -> None:
        self._count = count
        self._start = start
        self._loop = asyncio.get_running_loop()
        self._new: list[_Job] = []
        self._portions: SimpleQueue[Portion | None] = SimpleQueue()
        self._shared: list[Portion] = []
        self._shared_before: list[Portion] = []
        self._watching = False
        self._started = 0
        self._busy = 0
        self._averages: dict[str, float] = {}
        self._finished: deque[_End] = deque()
        # Held while a thread's run is looked at from outside, so that an exception meant for one
        # task never reaches the next.
        self._lock = threading.Lock()

    async def call(self, kind: str, run: Run, function: Callable[..., Any], *args: Any) -> Any:
        """
        Run *function* in a thread, with a copy of the caller's context variables.

        How long those of its *kind* take decides whether it gets a thread of its own. Cancelling the
        caller does not stop it, `interrupt` does.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._new:
            self._loop.call_soon(self._hand_out)
        self._new.append(_Job(kind, run, function, args, contextvars.copy_context(), future))
        return await future

    def interrupt(self, run: Run) -> None:
        """Raise the exception for `run.stop` inside the handler, if it is running."""
        with self._lock:
            if run.thread and run.stop is not None:
                raise_in_thread(run.thread, _EXCEPTIONS[run.stop])

    def replace_lost(self) -> None:
        """A thread never came back: allow one more in its place."""
        self._count += 1

    def close(self) -> None:
        """Let idle threads end; those that run a handler are left to themselves."""
        for _ in range(self._started):
            self._portions.put(None)

    def _hand_out(self) -> None:
        jobs, self._new = self._new, []
        portion: Portion = deque()
        left = _PORTION
        for job in jobs:
            lasts = self._averages.get(job.kind, _SHORT)
            if lasts >= _SHORT:
                self._put(deque((job,)))
                continue
            if lasts > left:
                self._share(portion)
                portion, left = deque(), _PORTION
            portion.append(job)
            left -= lasts
        if portion:
            self._share(portion)

    def _share(self, portion: Portion) -> None:
        if len(portion) > 1:
            self._shared.append(portion)
            if not self._watching:
                self._watching = True
                self._loop.call_later(_STUCK, self._watch)
        self._put(portion)

    def _watch(self) -> None:
        """Give threads of their own to those that wait behind one that takes long."""
        for portion in self._shared_before:
            # Its thread takes from it meanwhile.
            with contextlib.suppress(IndexError):
                while True:
                    self._put(deque((portion.popleft(),)))
        self._shared_before = [portion for portion in self._shared if portion]
        self._shared = []
        self._watching = bool(self._shared_before)
        if self._watching:
            self._loop.call_later(_STUCK, self._watch)

    def _put(self, portion: Portion) -> None:
        if self._busy >= self._started and self._started < self._count:
            self._started += 1
            self._start(self._work, f"qd-handler-{self._started}")
        self._busy += 1
        self._portions.put(portion)

    def _work(self) -> None:
        while (portion := self._portions.get()) is not None:
            free, told_at = False, time.monotonic()
            while not free:
                now = time.monotonic()
                try:
                    job = portion.popleft()
                except IndexError:  # the rest was given to others
                    end = _End(None, None, None, True)
                else:
                    result, error = self._call(job)
                    end = _End(job.future, result, error, not portion)
                    began, now = now, time.monotonic()
                    self._note(job.kind, now - began)
                free = end.free
                self._finished.append(end)
                # What is done within a moment is told together: it ends together then, too.
                if (free or now - told_at > _PORTION) and self._finished:
                    told_at = now
                    try:
                        self._loop.call_soon_threadsafe(self._deliver)
                    except RuntimeError:
                        return  # the loop is closed: the process is on its way out

    def _note(self, kind: str, took: float) -> None:
        # One that was long by chance, as on a busy machine, says little about the others.
        took = min(took, 2 * _SHORT)
        average = self._averages.get(kind, took)
        self._averages[kind] = average + _WEIGHT * (took - average)

    def _call(self, job: _Job) -> tuple[Any, BaseException | None]:
        run, result, error = job.run, None, None
        identifier = threading.get_ident()
        try:
            with self._lock:
                run.thread = identifier
            if run.stop is not None:
                raise _EXCEPTIONS[run.stop]()
            result = job.context.run(job.function, *job.args)
        except BaseException as raised:  # noqa: BLE001 - whatever a handler raises is its outcome
            error = raised
        while run.thread:
            try:
                with self._lock:
                    if run.stop is not None:
                        # An exception that was sent but not raised yet is taken back.
                        _set_exception(identifier, _NOTHING)
                    run.thread = 0
            except BaseException as raised:  # noqa: BLE001 - it arrived just now
                error = error or raised
        return result, error

    def _deliver(self) -> None:
        while self._finished:
            end = self._finished.popleft()
            self._busy -= end.free
            future, error = end.future, end.error
            if future is None or future.done():
                continue
            if error is None:
                future.set_result(end.result)
            elif isinstance(error, StopIteration):
                future.set_exception(RuntimeError(f"handler raised StopIteration: {error}"))
            else:
                future.set_exception(error)
