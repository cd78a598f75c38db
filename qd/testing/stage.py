"""
The worker and the scheduler of an application, doing one step when they are told to.

They are those of production. What is different: the worker takes no task by itself, but the one of the
most urgent queue when it is its turn; and the loops of the scheduler are gone through once.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from qd import clock
from qd.app.app import App
from qd.app.workers import make_scheduler, prefixed_queues, start_worker
from qd.errors import KitError
from qd.handlers.context import Context
from qd.handlers.middleware import CallNext
from qd.handlers.task import Task
from qd.maintenance.process import Scheduler
from qd.policy.outcome import Action, Outcome
from qd.policy.queue_order import strict_order
from qd.runtime.run import Run
from qd.runtime.steered import SteeredWorker
from qd.runtime.threads import lending, start_thread
from qd.runtime.worker import NoteRunning, WorkerOptions
from qd.testing.ran import Ran
from qd.testing.stored import value_of

OnRan = Callable[[Ran], None]


class Interrupted(Exception):  # noqa: N818 - it stands for KeyboardInterrupt, which a loop would not survive
    """Ctrl-C came while a handler ran in the thread of the test."""


class Stage:
    """
    Made by `open_stage`. *on_ran* is told of each run when Redis knows what became of it.

    *most* is how many tasks may run at one time.
    """

    def __init__(self, app: App, on_ran: OnRan, most: int) -> None:
        self.queues = strict_order(prefixed_queues(app.settings))
        self._on_ran = on_ran
        self._most = most
        self._left = most
        self._results: dict[Context, Any] = {}
        self._ran: list[Ran] = []
        self._interrupted = False
        self.worker: SteeredWorker | None = None
        self.scheduler: Scheduler | None = None

    async def next(self, queues: Sequence[str]) -> bool:
        """
        Run the next task of the first of *queues* that has one, to its end; False if none has.

        Raises:
            KitError: So many tasks have run that there seems to be no end.
            Interrupted: Somebody wants the test to end.
            Exception: Whatever *on_ran* raises.
        """
        assert self.worker is not None  # noqa: S101 - set by `open_stage`
        # Time limits are counted from here.
        clock.stand_still(int(clock.now()))
        if not await self.worker.run_next(queues):
            return False
        if self._interrupted:
            raise Interrupted
        self._left -= 1
        ran, self._ran = self._ran, []
        for one in ran:
            self._on_ran(one)
        return True

    async def settle(self, *, run: bool = True) -> float | None:
        """
        Do and run what is due now, and what follows from that, until nothing is left.

        Returns when (Unix seconds) something will be due, as far as the scheduler knows.
        """
        assert self.scheduler is not None  # noqa: S101 - set by `open_stage`
        self._left = self._most
        while True:
            before = replace(self.scheduler.counts)
            coming = await self.scheduler.step(clock.now())
            ran = run and await self._run_all()
            if not ran and self.scheduler.counts == before:
                return coming

    async def _run_all(self) -> bool:
        left = self._left
        while await self.next(self.queues):
            if self._left <= 0:
                raise KitError(
                    f"{self._most} tasks have run, and there are more",
                    hint="If a task asks for the next one without end, stop there; if there are so many, "
                    "say most=...",
                )
        return self._left < left

    def make_worker(
        self, endpoint: Any, router: Any, rules: Any, options: WorkerOptions, **more: Any
    ) -> SteeredWorker:
        """What `start_worker` is to make."""
        self.worker = SteeredWorker(
            endpoint,
            router,
            rules,
            # The outermost one sees what the others make of the result.
            replace(options, middleware=[self._keep_result, *options.middleware]),
            on_decided=self._decided,
            **more,
        )
        return self.worker

    async def _keep_result(self, ctx: Context, task: Task, call_next: CallNext) -> Any:
        try:
            result = self._results[ctx] = await call_next(ctx, task)
        except KeyboardInterrupt:
            # A worker takes it for an error of the handler; but it was meant for the test.
            self._interrupted = True
            raise
        return result

    def _decided(self, run: Run, outcome: Outcome, error: BaseException | None) -> None:
        now, next_at = clock.now(), None
        retried = outcome.action is Action.RETRY
        if retried:
            next_at = datetime.fromtimestamp(math.ceil(now + outcome.delay), UTC)
        message = run.message
        self._ran.append(
            Ran(
                type=message.type,
                id=message.id,
                queue=run.queue,
                at=datetime.fromtimestamp(now, UTC),
                attempt=message.terms.retried + 1,
                payload=value_of(message.payload),
                outcome=str(outcome.action),
                result=None if run.context is None else self._results.pop(run.context, None),
                error=error,
                delay=outcome.delay if retried else None,
                next_at=next_at,
                charged=retried and outcome.is_failure,
            )
        )


@asynccontextmanager
async def open_stage(
    app: App,
    on_ran: OnRan,
    *,
    most: int,
    lend: Callable[[Callable[[], None]], None] | None = None,
    note_running: NoteRunning = lambda _key, _until: None,
) -> AsyncIterator[Stage]:
    """
    Start a worker as in production, with the hooks and the lifespan of *app*, and end it in the end.

    *most* is how many tasks may run at one time by the clock. *lend* gets what a thread is to do that is there
    for synchronous handlers; without it, they have threads of their own.
    """
    endpoint = app.connection.endpoint
    stage = Stage(app, on_ran, most)
    async with AsyncExitStack() as stack:
        # What handlers have enqueued went over a connection of this loop.
        stack.push_async_callback(app.client.aclose)
        stage.scheduler = make_scheduler(app, endpoint)
        stack.push_async_callback(stage.scheduler.stop)
        running = await start_worker(
            app,
            endpoint,
            make=stage.make_worker,
            note_running=note_running,
            start_thread=start_thread if lend is None else lending(lend),
        )
        stack.push_async_callback(running.stop, 0)
        yield stage
