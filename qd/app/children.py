"""
What runs in the forked children of `qd worker`: a worker process, and the scheduler process.

Each connects only after the fork, listens to its parent (signals, lifeline, inbox) and stops in
order. User code is imported here, never in the parent, unless `preload` asks for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import closing
from typing import Any

import uvloop
from msgspec import Struct, field
from msgspec.structs import asdict

from qd import clock, failpoint
from qd.app.app import App
from qd.app.loading import load_app
from qd.app.looping import run_to_the_end
from qd.app.main_thread import MainThread
from qd.app.monitoring import Reports
from qd.app.recycling import Recycling
from qd.app.workers import (
    RunningWorker,
    limits_of_app,
    prefixed_queues,
    retry_rules,
    start_scheduler,
    start_worker,
)
from qd.broker.async_link import AsyncLink
from qd.broker.connect import open_async_link
from qd.broker.endpoint import Endpoint
from qd.config.model import Settings
from qd.errors import AppLoadError, BrokerError, BrokerUnavailable, ExitCode, QdError
from qd.maintenance.neighbours import Neighbours
from qd.maintenance.orphans import hand_back
from qd.maintenance.overdue import charge
from qd.monitor.telemetry import Telemetry
from qd.observability import logs, tally
from qd.protocol.op import command
from qd.runtime.listeners import Listeners
from qd.runtime.threads import start_thread
from qd.runtime.worker import Worker
from qd.service import Service
from qd.supervisor.child import DONE_EXIT, ChildRole, Death, Link

_TICK = 1.0
_LONGEST_WAIT = 2.0
_LAST_ORDERS = 2.0
_BURIAL = 1.0
"""Seconds that a start is held up at most to look for dead processes."""
_BURST_SILENCE = 0.5
"""Seconds without anything to do after which a burst is over."""


class Plan(Struct, frozen=True):
    """
    What every child of one generation is started with.

    *scheduler* says whether one of them looks after the queues, *app* is set when it was preloaded,
    *telemetry* when there is a monitor to report to. *listeners* has a place for each worker process.
    """

    settings: Settings
    endpoint: Endpoint
    app_reference: str
    scheduler: bool = True
    app: App | None = None
    burst: bool = False
    telemetry: Telemetry | None = None
    listeners: Listeners = field(default_factory=Listeners)


def worker_main(plan: Plan, link: Link) -> int:
    """Be a worker process until told to stop; returns its exit code."""
    return _run(plan, link, _worker)


def scheduler_main(plan: Plan, link: Link) -> int:
    """Be the scheduler process until told to stop; returns its exit code."""
    return _run(plan, link, _scheduler)


OnOrphan = Callable[[str, Death, str, list[str]], Awaitable[None]]
"""Told of a dead worker: its identity, how it died and why, the keys of the tasks of which that speaks."""

Body = Callable[[Plan, App, Link, "Orders"], Coroutine[Any, Any, int]]


def _run(plan: Plan, link: Link, body: Body) -> int:
    log = plan.settings.log
    logs.set_up(log.level, log.format, log.file, role=link.role)
    link.report_booting()
    if plan.telemetry is not None:
        tally.start()
    if link.role is ChildRole.SCHEDULER or not plan.scheduler:
        # Before the application is imported, which may take its time.
        with closing(uvloop.new_event_loop()) as loop:
            loop.run_until_complete(_bury_the_dead(plan))
    try:
        app = plan.app or load_app(plan.app_reference)
    except AppLoadError as error:
        hint = f"\n({error.hint})" if error.hint else ""
        link.boot_failed(f"{error}{hint}", error.exit_code)
        return error.exit_code
    app.configure(plan.settings)
    app.connection.use(plan.endpoint)
    # Never closed: that would wait for handlers and threads that do not listen. The process ends.
    loop = uvloop.new_event_loop()
    if body is _worker and plan.settings.worker.concurrency == 1:
        main_thread = MainThread(loop)
        main_thread.run(_with_orders(plan, app, link, body, main_thread))
    asyncio.set_event_loop(loop)
    return run_to_the_end(loop, _with_orders(plan, app, link, body))


async def _bury_the_dead(plan: Plan) -> None:
    """Hand back what processes of this machine held that died with their supervisor, if Redis is there."""
    redis = open_async_link(plan.endpoint)
    try:
        async with asyncio.timeout(_BURIAL):
            await Neighbours(redis, list(prefixed_queues(plan.settings))).bury(clock.now())
    except (BrokerError, TimeoutError) as error:
        logging.getLogger("qd.neighbours").debug("nobody was looked for: %s", error)
    await redis.close()


async def _with_orders(
    plan: Plan, app: App, link: Link, body: Body, main_thread: MainThread | None = None
) -> int:
    orders = Orders(link, main_thread)
    try:
        await _wait_for_redis(plan, link, orders)
        if orders.stop.is_set():
            return 0
        return await body(plan, app, link, orders)
    except BrokerUnavailable as error:
        # It may pass: the supervisor starts this child again, a little later each time.
        logging.getLogger(f"qd.{link.role}").error("cannot start: %s", error)
        return error.exit_code
    except QdError as error:
        link.boot_failed(f"{error}" + (f" ({error.hint})" if error.hint else ""), error.exit_code)
        return error.exit_code
    except Exception:
        # A startup hook or the lifespan of the user, most likely; that, too, may pass.
        logging.getLogger(f"qd.{link.role}").exception("this process cannot go on")
        return ExitCode.FAILED


class Orders:
    """What the parent wants of this child, as it comes: by signal, lifeline or inbox."""

    def __init__(self, link: Link, main_thread: MainThread | None) -> None:
        self.main_thread = main_thread
        self.stop = asyncio.Event()
        self.at_once = asyncio.Event()
        self.on_quiet: Callable[[bool], None] = lambda _quiet: None
        self.on_orphan: OnOrphan | None = None
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._unread = b""
        self._running: dict[str, list[str]] = {}
        self._jobs: set[asyncio.Future[None]] = set()
        handlers: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: self.stop.set,
            signal.SIGQUIT: self._now,
            # A terminal sends these to the whole group; the parent says what follows from them.
            signal.SIGINT: _ignore,
            signal.SIGHUP: _ignore,
            # Log files are opened anew by themselves when they were moved.
            signal.SIGUSR1: _ignore,
        }
        if main_thread is not None:
            main_thread.listen(handlers)
        else:
            for number, handler in handlers.items():
                self._loop.add_signal_handler(number, handler)
        self._loop.add_reader(link.lifeline_fd, self._parent_died)
        self._loop.add_reader(link.inbox_fd, self._read_inbox)

    def _now(self) -> None:
        self.at_once.set()
        self.stop.set()

    def _parent_died(self) -> None:
        logging.getLogger("qd.worker").error("the supervisor is gone; putting tasks back")
        self._loop.remove_reader(self._link.lifeline_fd)
        self._now()

    async def finish(self) -> None:
        """Carry out what is left in the inbox; the last lines come just ahead of the TERM."""
        self._read_inbox()
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=_LAST_ORDERS)

    def _read_inbox(self) -> None:
        try:
            data = os.read(self._link.inbox_fd, 65536)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._link.inbox_fd)
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._obey(line.decode("utf-8", "replace").split("\t"))

    def _obey(self, fields: list[str]) -> None:
        match fields:
            case ["quiet"]:
                self.on_quiet(True)
            case ["resume"]:
                self.on_quiet(False)
            case ["running", identity, *ids]:
                self._running.setdefault(identity, []).extend(ids)
            case ["orphan", identity, death, cause] if self.on_orphan is not None:
                running = self._running.pop(identity, [])
                job = asyncio.ensure_future(self.on_orphan(identity, Death(death), cause, running))
                self._jobs.add(job)
                job.add_done_callback(self._jobs.discard)


def _ignore() -> None:
    pass


async def _wait_for_redis(plan: Plan, link: Link, orders: Orders) -> None:
    """Return once Redis answers, or the child is told to stop; says so once, and once at the end."""
    log = logging.getLogger(f"qd.{link.role}")
    probe = open_async_link(plan.endpoint)
    failures = 0
    while not orders.stop.is_set():
        try:
            await probe.execute(command("PING", [], [], bool))
        except BrokerError as error:
            if not failures:
                log.warning("waiting for Redis: %s", error)
            failures += 1
            link.report_booting()
            await _sleep_unless(orders.stop, min(0.1 * 2 ** min(failures, 6), _LONGEST_WAIT))
        else:
            if failures:
                log.info("Redis is there")
            break
    await probe.close()


async def _sleep_unless(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


async def _worker(plan: Plan, app: App, link: Link, orders: Orders) -> int:
    settings = plan.settings.worker

    def note(key: str, until: float | None) -> None:
        if until is None:
            link.running.end(key)
        else:
            link.running.start(key, until)

    running = await start_worker(
        app,
        plan.endpoint,
        supervisor=os.getppid(),
        note_running=note,
        on_unstoppable=link.recycle,
        on_stop_order=link.stop_all,
        on_quiet_order=link.quiet,
        start_thread=start_thread
        if orders.main_thread is None
        else orders.main_thread.start_thread,
        listener=plan.listeners.join(),
    )
    worker = running.worker
    redis = open_async_link(plan.endpoint)
    orders.on_quiet = worker.quiet
    orders.on_orphan = _orphan_handler(app, redis)
    recycling = Recycling(settings.recycle, random=random.random(), now=time.monotonic())  # noqa: S311
    asked = False

    reports = Reports(plan.telemetry, link.role)

    async def tick() -> float:
        nonlocal asked
        link.tick(worker.busy, worker.done, worker.waiting)
        reports.send(_TICK, busy=worker.busy, slots=settings.concurrency)
        reason = "" if asked else recycling.reason(worker.done, time.monotonic())
        if reason:
            logging.getLogger("qd.worker").info("asking to be replaced: %s", reason)
            link.recycle()
            asked = True
        return _TICK

    ticks = Service("tick", tick)
    ticks.start()
    failpoint.hit("ready.before")
    link.report_ready(worker.server_id)
    finished = False
    if plan.burst:
        finished = await _until_drained(worker, orders.stop)
    else:
        await orders.stop.wait()
    link.stopping()
    await _stop_in_time(running, orders, settings.shutdown_timeout)
    await orders.finish()
    await redis.close()
    await ticks.stop()
    reports.send(0, ready=False)
    return DONE_EXIT if finished else 0


async def _stop_in_time(running: RunningWorker, orders: Orders, within: float) -> None:
    """Stop a worker; when the parent loses patience, put back at once what still runs."""
    stopping = asyncio.ensure_future(running.stop(0 if orders.at_once.is_set() else within))
    impatient = asyncio.ensure_future(orders.at_once.wait())
    await asyncio.wait([stopping, impatient], return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        await running.worker.hurry()
    await stopping
    impatient.cancel()


async def _until_drained(worker: Worker, stop: asyncio.Event) -> bool:
    """Return True once there has been nothing to do for a moment, False if told to stop before."""
    silent = 0.0
    while not stop.is_set():
        silent = silent + 0.1 if worker.drained else 0.0
        if silent >= _BURST_SILENCE:
            return True
        await _sleep_unless(stop, 0.1)
    return False


async def _scheduler(plan: Plan, app: App, link: Link, orders: Orders) -> int:
    scheduler = await start_scheduler(app, plan.endpoint)
    redis = open_async_link(plan.endpoint)
    orders.on_orphan = _orphan_handler(app, redis)
    reports = Reports(plan.telemetry, link.role)

    async def tick() -> float:
        link.tick(0, 0)
        reports.add_growth(tally.ACTIONS, asdict(scheduler.counts))
        reports.send(_TICK)
        return _TICK

    ticks = Service("tick", tick)
    ticks.start()
    link.report_ready()
    await orders.stop.wait()
    link.stopping()
    await orders.finish()
    await redis.close()
    await scheduler.stop()
    await ticks.stop()
    reports.send(0, ready=False)
    return 0


def _orphan_handler(app: App, link: AsyncLink) -> OnOrphan:
    queues = list(prefixed_queues(app.settings))
    rules = retry_rules(app)
    limits = [one.bounds for one in limits_of_app(app)]

    async def on_orphan(identity: str, death: Death, cause: str, running: list[str]) -> None:
        if death is Death.HUNG:
            # What cannot be charged now is blamed for the death, so that it does not go on for ever.
            running = await charge(link, queues, rules, identity, running, now=clock.now())
        killed = death is Death.KILLED
        await hand_back(link, queues, identity, cause, running, killed=killed, limits=limits)

    return on_orphan
