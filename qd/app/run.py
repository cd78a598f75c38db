"""`qd worker` and `qd scheduler`: from settings to a supervisor with its children."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from qd import failpoint
from qd.app.connection import Connection, with_timeline
from qd.app.loading import check_module_exists
from qd.app.monitoring import MonitorSockets, monitor_main
from qd.config.cpus import usable_cpus
from qd.config.model import Settings
from qd.errors import AppLoadError, ConfigError, UsageError
from qd.observability import logs
from qd.supervisor.notify import Notifier
from qd.supervisor.setup import Reloaded
from qd.supervisor.state import Limits
from qd.supervisor.supervisor import Supervisor

if TYPE_CHECKING:
    from qd.app.app import App


class Request(Struct, frozen=True):
    """
    What the command line asked for.

    *reload* reads the configuration again; it raises ConfigError when that has become bad.
    """

    settings: Settings
    app_reference: str
    workers: bool = True
    scheduler: bool = True
    burst: bool = False
    reload: Callable[[], Settings] | None = None


def run_worker(request: Request, announce: Callable[[str], None]) -> int:
    """
    Run until told to stop; returns the exit code.

    Raises:
        ConfigError, BrokerUnavailable: Nothing was started.
        AppLoadError: There is no such module; with `preload`, it could not be imported.
    """
    settings = request.settings
    if not request.app_reference:
        raise UsageError(
            "no application named", hint="Use --app mypackage.tasks, or set `app:` in qd.yaml."
        )
    # Here, where it is one line, and not once for each child.
    check_module_exists(request.app_reference)
    logs.set_up(settings.log.level, settings.log.format, settings.log.file, role="supervisor")
    log = logging.getLogger("qd.supervisor")
    if armed := failpoint.arm(os.environ):
        log.warning("the fail point %s is armed: this daemon is here to be broken", armed)
    connection = Connection(settings, announce)
    sockets = MonitorSockets()
    try:
        first = _generation(request, settings, connection, sockets)
        # What the children share from here on is not touched by their garbage collectors. Imports leave
        # some hundred objects of garbage: to look for them takes a tenth of the start.
        if settings.worker.preload:
            gc.collect()
        gc.freeze()
        gc.enable()
        supervisor = Supervisor(
            worker_main=first.worker_main,
            scheduler_main=first.scheduler_main,
            workers=first.workers,
            shutdown_timeout=settings.worker.shutdown_timeout,
            watchdog=settings.worker.watchdog,
            log=log,
            monitor_main=first.monitor_main,
            limits=Limits(stall=settings.worker.stall),
            notifier=Notifier.from_environment(os.environ),
            reload=partial(_reload, request, connection, sockets),
        )
        return supervisor.run()
    finally:
        sockets.close()
        connection.close()


def check(request: Request) -> None:
    """
    Import the application and look at the configuration, without starting anything.

    Raises:
        AppLoadError, ConfigError, UsageError: What `qd worker` would stop at.
    """
    from qd.app.loading import load_app

    load_app(request.app_reference).configure(request.settings)


def _generation(
    request: Request, settings: Settings, connection: Connection, sockets: MonitorSockets
) -> Reloaded:
    """What the supervisor is to run with these settings."""
    # Imported before the fork, so that all children share one copy.
    from qd.app import children
    from qd.broker.connect import import_library

    import_library(connection.endpoint)

    app = None
    if settings.worker.preload:
        app = _preload(request.app_reference)
    listener = sockets.listener(settings.monitor.address)
    # The one thing about the endpoint that a reload may change.
    endpoint = with_timeline(connection.endpoint, settings)
    scheduler = request.scheduler and settings.scheduler.enabled
    plan = children.Plan(
        settings,
        endpoint,
        request.app_reference,
        scheduler=scheduler,
        app=app,
        burst=request.burst,
        telemetry=sockets.telemetry if listener else None,
    )
    monitor = None
    if listener is not None:
        monitor = partial(
            monitor_main,
            settings=settings,
            endpoint=endpoint,
            telemetry=sockets.telemetry,
            listener=listener,
            needed="worker" if request.workers else "scheduler",
        )
    return Reloaded(
        worker_main=partial(children.worker_main, plan),
        scheduler_main=partial(children.scheduler_main, plan) if scheduler else None,
        monitor_main=monitor,
        workers=_worker_count(settings) if request.workers else 0,
        shutdown_timeout=settings.worker.shutdown_timeout,
        watchdog=settings.worker.watchdog,
    )


def _worker_count(settings: Settings) -> int:
    return settings.worker.processes or usable_cpus()


def _preload(reference: str) -> App:
    import threading

    from qd.app.loading import load_app

    app = load_app(reference)
    if threading.active_count() > 1:
        names = ", ".join(thread.name for thread in threading.enumerate()[1:])
        raise AppLoadError(
            f"{reference} started a thread when it was imported: {names}",
            hint="A fork would lose it. Start threads in @app.on_startup, or set preload: false.",
        )
    return app


def _reload(request: Request, connection: Connection, sockets: MonitorSockets) -> Reloaded | None:
    if request.reload is None:
        return None
    settings = request.reload()
    if settings.redis != request.settings.redis:
        raise ConfigError(
            ["redis: the server cannot be changed by a reload"], hint="Restart the service."
        )
    if request.settings.worker.preload:
        raise ConfigError(
            ["worker.preload: the application was imported before the fork, and stays as it is"],
            hint="Restart the service for new code or settings, or set preload: false.",
        )
    check_module_exists(settings.app)
    return _generation(replace(request, app_reference=settings.app), settings, connection, sockets)
