"""
The main thread of a worker process that runs one task at a time: it belongs to synchronous handlers.

Some libraries work in the main thread alone, and so does code that installs signal handlers. The event
loop has a thread of its own then, so that lease, time limit, cancellation and watchdog go on while a
handler works or blocks.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, NoReturn

from qd.app.looping import run_to_the_end
from qd.runtime.threads import lending, start_thread
from qd.supervisor.fork import leave

OnSignal = Mapping[signal.Signals, Callable[[], None]]


class MainThread:
    """Made in the main thread, by a process that has only this one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._functions: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.start_thread = lending(self._functions.put)
        """Lets the first function run in the main thread."""
        self._on_signal: OnSignal = {}
        self._news, told = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # Written by the interpreter at once, also while a handler is inside of C.
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)

    def run(self, main: Coroutine[Any, Any, int]) -> NoReturn:
        """Run *main* on the loop in another thread; its result is the exit code of this process."""

        def be_loop() -> None:
            asyncio.set_event_loop(self._loop)
            exit_code = 1
            try:
                exit_code = run_to_the_end(self._loop, main)
            finally:
                # Whatever the main thread does: a handler that does not end must not keep it alive.
                leave(exit_code)

        start_thread(be_loop, "qd-loop")
        while True:
            self._functions.get()()

    def listen(self, on_signal: OnSignal) -> None:
        """Call these on the loop when a signal comes. To be called on the loop, once."""
        self._on_signal = on_signal
        self._loop.add_reader(self._news, self._read)
        # Only the main thread may say so.
        done = threading.Event()

        def install() -> None:
            for number in on_signal:
                # A loop that a handler starts may take the descriptor away: so it hears of them twice.
                signal.signal(number, self._tell)
            done.set()

        self._functions.put(install)
        done.wait()

    def _tell(self, number: int, _frame: Any) -> None:
        self._loop.call_soon_threadsafe(self._on_signal[signal.Signals(number)])

    def _read(self) -> None:
        with suppress(BlockingIOError):
            for number in os.read(self._news, 4096):
                if number in self._on_signal:
                    self._on_signal[signal.Signals(number)]()
