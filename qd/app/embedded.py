"""A worker inside another program: its own thread, its own event loop, no extra processes."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from qd.app.looping import run_to_the_end
from qd.app.workers import start_scheduler, start_worker
from qd.broker.connect import open_async_link
from qd.errors import TimedOut
from qd.protocol.op import command

if TYPE_CHECKING:
    from qd.app.app import App
    from qd.broker.endpoint import Endpoint

_STOP_MARGIN = 10.0
"""Seconds on top of `shutdown_timeout` for hooks and for Redis."""

_LEFTOVERS = 1.0
"""Seconds for tasks of the loop that handlers have left behind."""


class EmbeddedWorker:
    """Runs one worker and, if the settings say so, the scheduler's loops, until stopped."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="qd-worker", daemon=True)

    def start(self) -> None:
        """
        Start, and return when the worker takes tasks.

        Raises:
            BrokerUnavailable, ConfigError: It could not start; nothing is left running. So it is
                with whatever a startup hook raises.
        """
        self._thread.start()
        try:
            self._started.result()
        except BaseException:
            self._thread.join()
            raise

    @property
    def running(self) -> bool:
        """False once it has stopped, also if an operator stopped it."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop in order; bounded by `shutdown_timeout` and a little more."""
        with suppress(RuntimeError):  # an operator has stopped it already, and the loop is closed
            self._loop.call_soon_threadsafe(self._stop.set)
        bound = self._app.settings.worker.shutdown_timeout + _STOP_MARGIN
        self._thread.join(bound)
        if self._thread.is_alive():
            raise TimedOut(f"the embedded worker did not stop within {bound:g} s")

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            run_to_the_end(self._loop, self._main())
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)
        finally:
            self._loop.close()

    async def _main(self) -> None:
        settings = self._app.settings
        endpoint = self._app.connection.endpoint
        await _look_for_redis(endpoint)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._app.client.aclose)
            stack.push_async_callback(_cancel_leftovers)
            if settings.scheduler.enabled:
                scheduler = await start_scheduler(self._app, endpoint)
                stack.push_async_callback(scheduler.stop)
            # `qd server stop` ends this worker; the program around it is not its own.
            worker = await start_worker(self._app, endpoint, on_stop_order=self._stop.set)
            stack.push_async_callback(worker.stop, settings.worker.shutdown_timeout)
            self._started.set_result(None)
            await self._stop.wait()


async def _look_for_redis(endpoint: Endpoint) -> None:
    link = open_async_link(endpoint)
    try:
        await link.execute(command("PING", [], [], bool))
    finally:
        await link.close()


async def _cancel_leftovers() -> None:
    leftovers = asyncio.all_tasks() - {asyncio.current_task()}
    for task in leftovers:
        task.cancel()
    if leftovers:
        await asyncio.wait(leftovers, timeout=_LEFTOVERS)
