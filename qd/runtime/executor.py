"""
Runs tasks in slots and says how each run ended.

A slot is a long-lived coroutine that awaits one handler after the other: a coroutine of its own for
every task would cost more than all the rest of the work on it. A handler's context variables never
reach the next task: a slot whose context was changed is replaced by a fresh one.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from qd import clock, failpoint
from qd.errors import (
    HandlerNotFound,
    LeaseLost,
    TaskCancelled,
    TaskTimeout,
)
from qd.handlers.context import Context, as_bytes
from qd.handlers.handler import Handler
from qd.handlers.middleware import CallNext, Middleware, compose
from qd.handlers.routing import Router
from qd.handlers.task import Task
from qd.policy.deadline import deadline_of
from qd.runtime.run import Run, Stop
from qd.runtime.suspects import Suspects
from qd.runtime.threads import StartThread, Threads

OnEnded = Callable[[Run, Any, BaseException | None], None]
"""Told when a handler has ended: the run, its result, its error (one of them is None)."""

MakeContext = Callable[[Run], Context]

_YIELD_EVERY = 100
"""Tasks without a pause of their own after which the loop gets its turn."""

_REASONS: Mapping[Stop, Callable[[], BaseException]] = {
    Stop.TIMEOUT: TaskTimeout,
    Stop.CANCEL: TaskCancelled,
    Stop.LEASE_LOST: LeaseLost,
    Stop.PUT_BACK: TaskCancelled,
}


class Executor:
    """
    *slots* tasks at a time. `running` holds those whose handler has started.

    *on_left* is told that the handler's code has ended, *on_ended* what became of the run, *on_free*
    that a slot has nothing to do.
    """

    def __init__(
        self,
        router: Router,
        middleware: Sequence[Middleware],
        *,
        slots: int,
        start_thread: StartThread,
        make_context: MakeContext,
        on_started: Callable[[Run], None],
        on_left: Callable[[Run], None],
        on_ended: OnEnded,
        on_free: Callable[[], None],
    ) -> None:
        self._router = router
        self._middleware = middleware
        self._slots = slots
        self._make_context = make_context
        self._on_started = on_started
        self._on_left = on_left
        self._on_ended = on_ended
        self._on_free = on_free
        self._loop = asyncio.get_running_loop()
        self._threads = Threads(slots, start_thread)
        self._waiting: deque[Run] = deque()
        self._suspects = Suspects(
            self._loop,
            start=self._start,
            others=lambda: bool(self.running or self._waiting),
            on_released=on_free,
        )
        self._idle: deque[asyncio.Future[None]] = deque()
        self._runners: set[asyncio.Task[None]] = set()
        self._done = 0
        self._done_at_waking: int | None = None
        self._calls: dict[str, CallNext] = {}
        self.running: dict[Context, Run] = {}
        self._all_ended: asyncio.Event | None = None
        self._log = logging.getLogger("qd.executor")

    @property
    def free(self) -> int:
        """How many tasks could start now."""
        if self._suspects.exclusive:
            return 0
        return self._slots - len(self.running) - len(self._waiting)

    @property
    def busy(self) -> int:
        return len(self.running) + len(self._waiting) + len(self._suspects)

    def submit(self, run: Run) -> None:
        """Start a run in a free slot; one that has seen a worker die once it can be alone."""
        if run.deaths or self._suspects.any:
            self._suspects.admit(run)
        else:
            self._start(run)

    def _start(self, run: Run) -> None:
        # One slot is woken, and wakes others: handlers that wait for nothing need no second one.
        if not self._waiting:
            self._done_at_waking = None
            self._wake_slot()
        self._waiting.append(run)

    def _wake_others(self) -> None:
        """Called in a slot that was woken, before it takes a run."""
        others = len(self._waiting) - 1
        if others <= 0 or not (self._idle or len(self._runners) < self._slots):
            return
        if self._done == self._done_at_waking:
            # The slot that woke this one is waiting in its handler: so will the others be.
            self._done_at_waking = None
            for _ in range(others):
                self._wake_slot()
        else:
            self._done_at_waking = self._done
            self._wake_slot()

    def _wake_slot(self) -> None:
        while self._idle:
            waiter = self._idle.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        if len(self._runners) < self._slots:
            self._add_runner()

    def take_waiting(self) -> list[Run]:
        """Return the runs that have not started, which then never will."""
        waiting = [*self._waiting, *self._suspects.take_waiting()]
        self._waiting.clear()
        return waiting

    def stop_run(self, run: Run, why: Stop) -> None:
        """Tell a handler to end: cancelled on the loop, by an exception in a thread."""
        if run.ended or run.stop is not None:
            return
        run.stop = why
        run.stopped_at = time.monotonic()
        if run.context is not None:
            run.context.cancelled = True
        if run.thread:
            self._threads.interrupt(run)
        elif run.task is not None:
            run.task.cancel()

    def give_up(self, run: Run) -> None:
        """Treat a run whose handler does not listen as ended; a new slot replaces its own."""
        run.ended = True
        if run.task is not None:
            self._runners.discard(run.task)
        if run.thread:
            self._threads.replace_lost()
        self._leave(run)
        if self._waiting:
            self._wake_slot()
        self._on_free()

    async def wait_idle(self, within: float) -> bool:
        """Wait until nothing runs, at most *within* seconds; False if something still does."""
        if not self.busy:
            return True
        self._all_ended = asyncio.Event()
        try:
            async with asyncio.timeout(within):
                await self._all_ended.wait()
        except TimeoutError:
            return False
        return True

    def stop_waiting(self) -> None:
        """Make `wait_idle` return, whatever still runs."""
        if self._all_ended is not None:
            self._all_ended.set()

    async def close(self) -> None:
        """End the slots; handlers that still run are cancelled and left."""
        self._threads.close()
        for runner in self._runners:
            runner.cancel()
        if self._runners:
            await asyncio.wait(self._runners, timeout=1.0)

    def _add_runner(self) -> None:
        # An empty context: what the caller of submit has set is nothing to a handler.
        runner = self._loop.create_task(self._run_slot(), context=contextvars.Context())
        self._runners.add(runner)
        runner.add_done_callback(self._runners.discard)

    async def _run_slot(self) -> None:
        # Asked once: it is a system call each time.
        current = asyncio.current_task()
        fresh = contextvars.copy_context()
        count = 0
        waiting = self._waiting
        self._wake_others()
        while True:
            while not waiting:
                self._on_free()
                waiter: asyncio.Future[None] = self._loop.create_future()
                self._idle.append(waiter)
                await waiter
                count = 0
                self._wake_others()
            await self._execute(waiting.popleft(), current)
            if current not in self._runners:
                return  # given up while it ran: another slot is in its place
            if contextvars.copy_context() != fresh:
                self._runners.discard(current)
                self._add_runner()
                return
            count += 1
            if not count % _YIELD_EVERY:
                await asyncio.sleep(0)

    async def _execute(self, run: Run, current: asyncio.Task[Any] | None) -> None:
        if run.stop is not None:  # told to end before it began
            self._end(run, None, reason_of(run))
            return
        message = run.message
        now = run.started_at = clock.now()
        run.deadline_at = deadline_of(message.terms.timeout, message.terms.deadline, now)
        if run.deadline_at <= now:
            self._end(run, None, TaskTimeout())
            return
        run.task = current
        result: Any = None
        error: BaseException | None = None
        try:
            run.context = context = self._make_context(run)
            self.running[context] = run
            self._on_started(run)
            failpoint.hit("handler.before")
            call = self._calls.get(message.type) or self._find(message.type)
            result = await call(context, Task(message))
            failpoint.hit("handler.after")
        except asyncio.CancelledError as raised:
            if run.stop is None and current is not None and current.cancelling():
                # Not for the task: the slot itself is being closed.
                run.ended = True
                raise
            error = reason_of(run)
            error.__cause__ = raised
        except BaseException as raised:  # noqa: BLE001 - the one place where all of them end
            error = raised
        run.task = None
        self._done += 1
        # Also when it was given up long ago: only now is its code no danger any more.
        self._on_left(run)
        if current is not None and current.cancelling():
            await _forget_cancellation(current)
        self._end(run, result, error)

    def _end(self, run: Run, result: Any, error: BaseException | None) -> None:
        if run.ended:
            return  # given up, or put back: nobody asks any more
        run.ended = True
        self._leave(run)
        data: bytes | None = None
        if error is None and result is not None and run.message.terms.retention:
            try:
                data = as_bytes(result)
            except Exception as unfit:  # noqa: BLE001 - what is returned is the user's
                error = unfit
        if isinstance(error, (SystemExit, KeyboardInterrupt, GeneratorExit)):
            # Not an order to this process: the handler asked to leave, and failed by that.
            error = RuntimeError(f"handler raised {type(error).__name__}({error})")
        self._on_ended(run, data, error)

    def _leave(self, run: Run) -> None:
        if run.context is not None:
            self.running.pop(run.context, None)
        if self._suspects.any:
            self._suspects.ended(run)
        if self._all_ended is not None and not self.busy:
            self._all_ended.set()

    def _find(self, task_type: str) -> CallNext:
        handler = self._router.find(task_type)
        if handler is None:
            self._log.error(
                "no handler for task type %s; there are handlers for: %s",
                task_type,
                ", ".join(self._router.patterns) or "nothing",
            )
            innermost: CallNext = _not_found
        elif handler.is_async:
            innermost = handler.call
        else:
            innermost = partial(self._call_in_thread, handler)
        call = self._calls[task_type] = compose(self._middleware, innermost)
        return call

    async def _call_in_thread(self, handler: Handler, context: Context, task: Task) -> Any:
        run = self.running[context]
        result = await self._threads.call(handler.pattern, run, handler.call, context, task)
        # A decorator may have left a plain function around an asynchronous one.
        return await result if inspect.isawaitable(result) else result


async def _forget_cancellation(slot: asyncio.Task[Any]) -> None:
    """Let no cancellation of this run reach the next one in the same slot."""
    while slot.uncancel():
        pass
    # One that came when the handler had nothing left to wait for would be raised at the next wait.
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)


async def _not_found(_: Context, task: Task) -> Any:
    raise HandlerNotFound(task.type)


def reason_of(run: Run) -> BaseException:
    """The error that stands for why a run was told to end."""
    return _REASONS[run.stop or Stop.CANCEL]()
