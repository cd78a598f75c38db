"""The application object: what user code builds, and its way into everything else."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack
from weakref import WeakSet

from qd.app.connection import Connection
from qd.app.handle import TaskHandle, declare
from qd.app.polls import DeclaresPolls
from qd.app.schedules import Schedules
from qd.client.declared import Declared
from qd.config.load import from_mapping, load
from qd.config.model import Settings
from qd.durations import seconds
from qd.errors import UsageError
from qd.handlers.context import Context
from qd.handlers.handler import Handler, RetryDelay, make_handler
from qd.handlers.middleware import Middleware
from qd.handlers.moved import OnTransition
from qd.handlers.options import NO_OPTIONS, Duration, OptionKeywords, TaskOptions
from qd.handlers.routing import Router
from qd.policy.cron import parse as parse_spec
from qd.policy.retry import RetryPolicy

if TYPE_CHECKING:
    from qd.app.embedded import EmbeddedWorker
    from qd.broker.link import Link
    from qd.client.builder import TaskBuilder
    from qd.client.client import AroundEnqueue, Client
    from qd.client.room import OnPressure
    from qd.inspector.inspector import Inspector
    from qd.runtime.breaker_gate import OnBreaker

P = ParamSpec("P")
R = TypeVar("R")

Lifespan = Callable[[], AbstractAsyncContextManager[Any]]
Hook = Callable[[], Any]
OnError = Callable[[Context | None, BaseException], None]

# Those that are alive, for what works on "the" application.
_apps: WeakSet[App] = WeakSet()


class App(DeclaresPolls):
    """
    Handlers, schedules and hooks of one application.

    *config*: settings as a mapping, any object that has them as attributes, or `Settings`; without
    it, the configuration is found as the command line finds it. Under `qd worker` the command
    line's configuration wins.
    """

    def __init__(self, name: str = "qd", *, config: Any = None) -> None:
        self.name = name
        self.router = Router()
        self.middlewares: list[Middleware] = []
        self.aggregators: list[tuple[str, Callable[..., Any]]] = []
        self.startup_hooks: list[Hook] = []
        self.shutdown_hooks: list[Hook] = []
        self.lifespan_hook: Lifespan | None = None
        self.enqueue_hook: AroundEnqueue | None = None
        self.error_hook: OnError | None = None
        self.transition_hooks: list[OnTransition] = []
        self.pressure_hooks: list[OnPressure] = []
        self.breaker_hooks: list[OnBreaker] = []
        self.failure_test: Callable[[BaseException], bool] | None = None
        self._declared: dict[str, Declared] = {}
        self._config = config
        self._settings: Settings | None = None
        self._connection: Connection | None = None
        self._client: Client | None = None
        self._inspector: Inspector | None = None
        self._link: Link | None = None
        self._embedded: EmbeddedWorker | None = None
        _apps.add(self)

    @classmethod
    def only(cls) -> App:
        """
        Return the one application of this process.

        Raises:
            UsageError: There is none, or there are several.
        """
        apps = list(_apps)
        if len(apps) != 1:
            raise UsageError(
                f"there are {len(apps)} apps in this process, not one", hint="Pass app=..."
            )
        return apps[0]

    @classmethod
    def from_config(cls, path: str | None = None, *, name: str = "qd") -> App:
        """
        Return an application with the configuration of a file (or the one that is found).

        Raises:
            ConfigError: All problems of the configuration, each with its place.
        """
        found = load(path, env=os.environ, cwd=Path.cwd())
        return cls(name, config=found.settings)

    @property
    def settings(self) -> Settings:
        if self._settings is None:
            if self._config is None:
                self._settings = load(env=os.environ, cwd=Path.cwd()).settings
            else:
                self._settings = from_mapping(self._config)
        return self._settings

    def configure(self, settings: Settings) -> None:
        """Use these settings from now on; open connections are closed."""
        self.close()
        self._settings = settings

    @contextmanager
    def using(self, settings: Settings) -> Iterator[None]:
        """Use other settings for a while; open connections are closed at its beginning and end."""
        before = self._settings
        self.configure(settings)
        try:
            yield
        finally:
            self.close()
            self._settings = before

    # --- what user code declares ---

    def task(
        self,
        task_type: str,
        *,
        retry: RetryPolicy | RetryDelay | None = None,
        limit: str | Sequence[str] = (),
        **options: Unpack[OptionKeywords],
    ) -> Callable[[Callable[P, R]], TaskHandle[P, R]]:
        """
        Make a function the handler of *task_type* (and of types that begin with it).

        *options* hold for tasks of this type unless the enqueue says otherwise; *retry* replaces
        the retry rule; *limit* names one or more of the configured `limits`.

        Raises:
            UsageError: The type has a handler, an option is wrong, or the signature cannot be served.
        """
        own = TaskOptions.of(**options)

        def decorate(function: Callable[P, R]) -> TaskHandle[P, R]:
            handler = make_handler(task_type, function, options=own, retry=retry, limit=limit)
            self.router.add(handler)
            return declare(self, handler, function)

        return decorate

    def register_handler(
        self,
        pattern: str,
        target: Any,
        *,
        retry: RetryPolicy | RetryDelay | None = None,
        limit: str | Sequence[str] = (),
        **options: Unpack[OptionKeywords],
    ) -> Handler:
        """
        Register a function, or an object with `process_task(ctx, task)`, for a type or prefix.

        As in asynq's mux, the exact type wins, then the longest pattern that is a prefix.
        """
        own = TaskOptions.of(**options)
        handler = make_handler(pattern, target, options=own, retry=retry, limit=limit)
        self.router.add(handler)
        return handler

    def schedule(
        self,
        spec: str,
        *,
        name: str | None = None,
        payload: Any = None,
        timezone: str | None = None,
        missed: str = "skip",
        overlap: str = "allow",
        jitter: Duration = 0,
        dst: str = "debian",
        start: datetime | None = None,
        end: datetime | None = None,
        **options: Unpack[OptionKeywords],
    ) -> Callable[[Any], Any]:
        """
        Enqueue a task by the clock: five cron fields, `@daily` and friends, or `@every 1h`.

        Decorates a plain function (which becomes a task named `module.function`), or what
        `@app.task` gave back.

        Args:
            missed: What becomes of ticks during which no scheduler ran: `skip`, `once`, `all` (the
                last 100 are made up for) or `all(20)`.

            overlap: `skip` lets a tick pass while the task of the last one has not ended.

            jitter: Delay each task by a random time of up to this, in whole seconds.

            dst: Local times that a clock change skips or repeats are due once (`debian`), or as
                often as the clock shows them (`asynq`).

            start, end: Nothing is due before the one and after the other.

        Raises:
            UsageError: The spec cannot be read, a policy is unknown, or the name is taken.
        """
        try:
            parse_spec(spec, timezone=timezone or "UTC")
        except ValueError as error:
            raise UsageError(f"schedule {spec!r}: {error}") from error
        own = TaskOptions.of(**options)

        def decorate(target: Any) -> Any:
            handle = target
            if not isinstance(target, TaskHandle):
                handle = self.task(f"{target.__module__}.{target.__name__}")(target)
            entry = name or handle.type
            if entry in self._declared:
                raise UsageError(
                    f"two schedules are named {entry!r}", hint="Give one of them name=..."
                )
            self._declared[entry] = Declared(
                name=entry,
                spec=spec,
                task_type=handle.type,
                payload=payload,
                options=own,
                timezone=timezone,
                missed=missed,
                overlap=overlap,
                jitter=seconds(jitter),
                dst=dst,
                start=start,
                end=end,
            )
            return handle

        return decorate

    def aggregator(self, pattern: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
        """
        Make a function merge the tasks of groups whose name fits *pattern* (`*` and `?`).

        It gets the group's name and a list of tasks, and returns what to enqueue: (type, payload),
        or (type, payload, options).
        """

        def decorate(function: Callable[..., R]) -> Callable[..., R]:
            self.aggregators.append((pattern, function))
            return function

        return decorate

    def middleware(self, function: Middleware) -> Middleware:
        """Run every handler inside of *function*; the first one registered is the outermost."""
        self.middlewares.append(function)
        return function

    def around_enqueue(self, function: AroundEnqueue) -> AroundEnqueue:
        """
        Open *function*, a context manager, around every enqueue of this application.

        It is called with the type of the task and the number of tasks ("many" where one call enqueues
        several types), and yields headers that they get. Register it before the first enqueue.
        """
        self.enqueue_hook = function
        return function

    def lifespan(self, function: Callable[[], AsyncIterator[Any]]) -> Callable[[], Any]:
        """
        Open what handlers need once per worker process, and close it at the end.

        An async generator that yields once, a mapping if it likes: handlers find it as `ctx.state`.
        """
        from contextlib import asynccontextmanager

        self.lifespan_hook = asynccontextmanager(function)
        return function

    def on_startup(self, function: Hook) -> Hook:
        """Call *function* (or await it) in each worker process before its first task."""
        self.startup_hooks.append(function)
        return function

    def on_shutdown(self, function: Hook) -> Hook:
        """Call *function* (or await it) in each worker process after its last task."""
        self.shutdown_hooks.append(function)
        return function

    def on_error(self, function: OnError) -> OnError:
        """Call *function(ctx, error)* for every failed run, before the task is retried or archived."""
        self.error_hook = function
        return function

    def on_transition(self, function: OnTransition) -> OnTransition:
        """
        Call *function(moved)* in worker processes for each task that they have taken, ended or put back.

        After Redis has confirmed it, on the event loop: it must be quick. What it raises is logged.
        It tells nothing of what others did, and may miss one when an answer is lost; all of them
        are in the timeline, if one is kept.
        """
        self.transition_hooks.append(function)
        return function

    def on_backpressure(self, function: OnPressure) -> OnPressure:
        """
        Call *function(change)* when a bounded queue has another level (see `backpressure`).

        One process hears of each change: the producer or scheduler whose look made it. Register it
        before the first enqueue; it must be quick, and what it raises is logged.
        """
        self.pressure_hooks.append(function)
        return function

    def on_breaker(self, function: OnBreaker) -> OnBreaker:
        """
        Call *function(change)* when a circuit breaker opens, half-opens or closes (see `breakers`).

        In the worker process whose task made it, on the event loop: it must be quick. What it raises
        is logged.
        """
        self.breaker_hooks.append(function)
        return function

    def is_failure(self, function: Callable[[BaseException], bool]) -> Callable[..., bool]:
        """Ask *function(error)* whether an error counts; False: no retry is used up."""
        self.failure_test = function
        return function

    # --- ways in ---

    @property
    def connection(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(self.settings)
        return self._connection

    @property
    def client(self) -> Client:
        """The client of this application; made on first use, shared by all threads."""
        if self._client is None:
            from qd.app.client import make_client

            self._client = make_client(
                self.settings,
                self.connection,
                options_of=self.options_of_type,
                around=self.enqueue_hook,
                on_pressure=self.pressure_hooks,
                may_be_poll=self.may_be_poll,
            )
        return self._client

    def options_of_type(self, task_type: str) -> TaskOptions:
        """What the YAML's `tasks:` and the decorator say of a task type; the YAML wins."""
        handler = self.router.find(task_type)
        declared = handler.options if handler is not None else NO_OPTIONS
        overrides = self.settings.tasks.get(task_type)
        if overrides is None:
            return declared
        return TaskOptions(
            queue=overrides.queue,
            max_retry=overrides.max_retry,
            timeout=overrides.timeout,
            retention=overrides.retention,
        ).over(declared)

    @property
    def schedules(self) -> Schedules:
        """The periodic tasks: those declared, and the way to add and remove others at run time."""
        return Schedules(self.settings, self._declared, self.operator_link)

    def new_task(self, task_type: str) -> TaskBuilder:
        """Return a builder for a task of any type, this application's or not."""
        from qd.client.builder import TaskBuilder

        return TaskBuilder(self.client, task_type)

    def inspector(self) -> Inspector:
        """Return the operator's view of the queues; made on first use, closed with the app."""
        if self._inspector is None:
            from qd.inspector.inspector import Inspector

            self._inspector = Inspector(self.operator_link())
        return self._inspector

    def operator_link(self) -> Link:
        """The connection of the inspector; made on first use, closed with the app."""
        if self._link is None:
            from qd.broker.connect import open_link

            self._link = open_link(self.connection.endpoint)
        return self._link

    def stats(self) -> Any:
        """Return totals over all queues and facts about the server."""
        return self.inspector().stats.overview()

    def start(self) -> None:
        """
        Run a worker inside this program, in a thread of its own, until `stop()` or `qd server stop`.

        For web servers and tests; `qd worker` gives processes, supervision and a scheduler.

        Raises:
            BrokerUnavailable, ConfigError: It could not start; nothing is left running. So it is
                with whatever a startup hook raises.
        """
        from qd.app.embedded import EmbeddedWorker

        if self._embedded is None or not self._embedded.running:
            embedded = EmbeddedWorker(self)
            embedded.start()
            self._embedded = embedded

    def stop(self) -> None:
        """Stop what `start()` started: running tasks get `shutdown_timeout`, the rest is put back."""
        embedded, self._embedded = self._embedded, None
        if embedded is not None:
            embedded.stop()

    def close(self) -> None:
        """Close the connections of client and inspector, and let go of qd's own server."""
        if self._link is not None:
            self._link.close()
            self._inspector = self._link = None
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
