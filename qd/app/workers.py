"""A worker or a scheduler with the hooks of its application: started and stopped as one thing."""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from qd.app.app import App
from qd.app.client import make_bounds, make_composer
from qd.broker.async_link import AsyncLink
from qd.broker.endpoint import Endpoint
from qd.config.model import Settings
from qd.handlers.breaker import breakers_of
from qd.handlers.limit import Limit, limits_of
from qd.handlers.retries import RetryRules
from qd.runtime.admission import Gate
from qd.runtime.breaker_gate import BreakerGate
from qd.runtime.limit_gate import LimitGate
from qd.runtime.listeners import Listener
from qd.runtime.poll_gate import PollGate
from qd.runtime.threads import StartThread, start_thread
from qd.runtime.worker import NoteRunning, Worker, WorkerOptions

if TYPE_CHECKING:
    from qd.maintenance.process import Scheduler

_HOOKS = 5.0
"""Seconds that a shutdown hook, or the end of the lifespan, may take."""

_log = logging.getLogger("qd.worker")


class RunningWorker:
    """A worker, and what the application opened for it."""

    def __init__(self, app: App, worker: Worker, stack: AsyncExitStack) -> None:
        self.worker = worker
        self._app = app
        self._stack = stack

    async def stop(self, within: float) -> None:
        """Stop the worker (see `Worker.stop`), then call the hooks, each bounded and on its own."""
        await self.worker.stop(within)
        for hook in (*self._app.shutdown_hooks, self._stack.aclose):
            try:
                async with asyncio.timeout(_HOOKS):
                    await _call(hook)
            except Exception:  # noqa: BLE001 - the user's hooks; the process ends all the same
                _log.exception("a shutdown hook or the lifespan failed")


async def start_worker(
    app: App,
    endpoint: Endpoint,
    *,
    make: Callable[..., Worker] = Worker,
    supervisor: int | None = None,
    note_running: NoteRunning = lambda _key, _until: None,
    on_unstoppable: Callable[[], None] = lambda: None,
    on_stop_order: Callable[[], None] = lambda: None,
    on_quiet_order: Callable[[bool], None] = lambda _quiet: None,
    start_thread: StartThread = start_thread,
    listener: Listener | None = None,
) -> RunningWorker:
    """
    Open what the application needs, then take tasks; *make* is the kind of worker. The rest is as with `Worker`.

    Errors of startup hooks and of the lifespan are raised; nothing runs then.
    """
    stack = AsyncExitStack()
    state: Mapping[str, Any] = {}
    try:
        if app.lifespan_hook is not None:
            state = await stack.enter_async_context(app.lifespan_hook()) or {}
        for hook in app.startup_hooks:
            await _call(hook)
        worker = make(
            endpoint,
            app.router,
            retry_rules(app),
            worker_options(app, state),
            supervisor=supervisor,
            note_running=note_running,
            on_unstoppable=on_unstoppable,
            on_stop_order=on_stop_order,
            on_quiet_order=on_quiet_order,
            start_thread=start_thread,
            listener=listener,
        )
        await worker.start()
    except BaseException:
        await stack.aclose()
        raise
    return RunningWorker(app, worker, stack)


def make_scheduler(app: App, endpoint: Endpoint) -> Scheduler:
    """Return the loops of the scheduler process, not started. Called inside a running loop."""
    # Here, because worker processes need none of it, and start sooner without.
    from qd.maintenance.process import Scheduler

    return Scheduler(
        app.settings,
        endpoint,
        queues=list(prefixed_queues(app.settings)),
        composer=make_composer(app.settings),
        rules=retry_rules(app),
        declared=list(app.schedules),
        aggregators=app.aggregators,
        options_of=app.options_of_type,
        limits=[one.bounds for one in limits_of_app(app)],
        bounds=make_bounds(app.settings, app.pressure_hooks),
    )


async def start_scheduler(app: App, endpoint: Endpoint) -> Scheduler:
    """Start the loops of the scheduler process."""
    scheduler = make_scheduler(app, endpoint)
    await scheduler.start()
    return scheduler


def retry_rules(app: App) -> RetryRules:
    return RetryRules(app.settings.retry, app.settings.tasks, app.router, random.random)


def prefixed_queues(settings: Settings) -> dict[str, int]:
    """The configured queues as they are stored, with their weights."""
    return {settings.queue_prefix + name: weight for name, weight in settings.queues.items()}


def limits_of_app(app: App) -> list[Limit]:
    return limits_of(app.settings.limits, app.router, app.settings.queue_prefix)


def worker_options(app: App, state: Mapping[str, Any]) -> WorkerOptions:
    settings = app.settings.worker
    limits = limits_of_app(app)
    return WorkerOptions(
        queues=prefixed_queues(app.settings),
        concurrency=settings.concurrency,
        strict=settings.strict_priority,
        polling=settings.polling,
        hard_grace=settings.hard_grace,
        middleware=app.middlewares,
        on_error=app.error_hook,
        is_failure=app.failure_test,
        on_transition=app.transition_hooks,
        state=state,
        queue_prefix=app.settings.queue_prefix,
        once_keep=settings.once_keep,
        make_gates=lambda link, owner: _gates(app, limits, link, owner),
    )


def _gates(app: App, limits: Sequence[Limit], link: AsyncLink, owner: str) -> list[Gate]:
    """What waits for the lock of a poll tries no breaker; what waits for that uses nothing of a limit."""
    settings = app.settings
    ttl, prefix = settings.worker.poll_lock, settings.queue_prefix
    has_keys = any(one.poll is not None and one.poll.key for one in app.router)
    return [
        *([PollGate(app.router, link, ttl=ttl, queue_prefix=prefix)] if has_keys else []),
        *(
            BreakerGate(one, link, is_failure=app.failure_test, hooks=app.breaker_hooks)
            for one in breakers_of(settings.breakers)
        ),
        *(LimitGate(one, link, owner) for one in limits),
    ]


async def _call(hook: Callable[[], Any]) -> None:
    result = hook()
    if inspect.isawaitable(result):
        await result
