"""A worker inside another program: its own thread, its own event loop, no extra processes."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from qd.app.workers import start_scheduler, start_worker
from qd.errors import TimedOut

if TYPE_CHECKING:
    from qd.app.app import App

_START_TIMEOUT = 10.0


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
            BrokerUnavailable, ConfigError: It could not start; nothing is left running.
        """
        self._thread.start()
        self._started.result(_START_TIMEOUT)

    def stop(self) -> None:
        """Stop in order; bounded by `shutdown_timeout` and a little more."""
        self._loop.call_soon_threadsafe(self._stop.set)
        bound = self._app.settings.worker.shutdown_timeout + _START_TIMEOUT
        self._thread.join(bound)
        if self._thread.is_alive():
            raise TimedOut(f"the embedded worker did not stop within {bound:g} s")

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits in start()
            if not self._started.done():
                self._started.set_exception(error)
        finally:
            self._loop.close()

    async def _main(self) -> None:
        settings = self._app.settings
        endpoint = self._app.connection.endpoint
        worker = await start_worker(self._app, endpoint)
        scheduler = None
        if settings.scheduler.enabled:
            scheduler = await start_scheduler(self._app, endpoint)
        self._started.set_result(None)
        await self._stop.wait()
        await worker.stop(settings.worker.shutdown_timeout)
        if scheduler is not None:
            await scheduler.stop()
