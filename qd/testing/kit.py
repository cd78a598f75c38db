"""
The kit: a server that is empty, a clock that stands still, and what a test does with them.

What a test cannot tell from production: payloads are encoded, stored, decoded and checked; tasks go
through limits, breakers and middlewares, are under their time limits, and what becomes of them is decided
and written by the same code. What it decides itself: which task runs when, and what time it is.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, ExitStack
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from msgspec.structs import replace

from qd import clock
from qd.app.app import App
from qd.app.workers import prefixed_queues
from qd.broker.embedded import EmbeddedServer
from qd.config.load import from_mapping
from qd.config.redis import RedisSettings
from qd.durations import seconds
from qd.errors import KitError, UsageError
from qd.handlers.options import Duration
from qd.protocol import keys
from qd.protocol.ops import kit as ops
from qd.testing import returning
from qd.testing import server as servers
from qd.testing.calls import Runnable, call
from qd.testing.crash import Crash, Point, crash, name_of
from qd.testing.looking import Looking
from qd.testing.loop import Loop
from qd.testing.ran import Ran, Runs
from qd.testing.stage import Interrupted, OnRan, Stage, open_stage

T = TypeVar("T")

MOST = 1000
"""Tasks that a drain runs before it takes them for endless."""


class Kit(Looking):
    """
    For one test of *app*, as a context manager.

    All is empty at first: everything in the server is deleted. Meanwhile *app* uses that server, with
    its other settings as they are. The clock of qd stands still, in all of this process, and moves by
    `advance` alone.

    Coroutines use the methods with an `a` in front: handlers then run on the loop of the test, and synchronous
    ones in threads. Else it is the other way round: synchronous handlers run in the thread of the test,
    and there is a loop beside it for the others.

    Args:
        server: Where, if not on the one that all kits of this process share.

        config: Other settings for the application: all of them, as for `App(config=...)`.

        now: What time it is at first, without a fraction of a second; else that of the machine.

    Raises:
        BrokerUnavailable: There is no server program; the hint says how to get one.
        KitError: Another kit is open in this process.
    """

    def __init__(
        self,
        app: App,
        *,
        server: EmbeddedServer | None = None,
        config: Any = None,
        now: datetime | None = None,
    ) -> None:
        super().__init__(app, lambda: self._at)
        self._server = server
        self._config = config
        self._at = int(time.time()) if now is None else _whole(now)
        self._opened = ExitStack()
        self._loop = Loop()
        self._hooks: list[Callable[[datetime], Any]] = []

    def __enter__(self) -> Self:
        if clock.stands_still():
            raise KitError(
                "another kit is open in this process, and there is one clock",
                hint="Close that one first; one kit is for one app.",
            )
        server = self._server or servers.shared()
        base = self.app.settings if self._config is None else from_mapping(self._config)
        settings = replace(base, redis=RedisSettings(addrs=(str(server.socket_path),)))
        # Before any link is opened: how a link asks for the time is settled then.
        clock.stand_still(self._at)
        self._opened.callback(clock.go_on)
        try:
            self._opened.enter_context(self.app.using(settings))
            self._opened.callback(self._loop.close)
            self.app.operator_link().execute_many(
                [ops.empty(), ops.move_clock(to=self._at, passed=0)]
            )
        except BaseException:
            self._opened.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened.close()

    # --- running ---

    def run(self, task: Runnable, /, *args: Any, **kwargs: Any) -> Ran:
        """
        Run one task now, and no other: `run(send_email, to="ann@example.com")`.

        It is stored first, as its producer would, and taken from there. A delay, a group and a rank in
        its queue do not hold it up; a limit or a breaker does.

        Raises:
            Exception: What the handler raised; Redis knows then what became of the task. Not `Snooze`,
                `RetryAfter` and `RevokeTask`, which say when it wants to run again.
            KitError: No handler takes the type, or no worker the queue.
            QdError: Whatever the enqueue raises.
        """
        return self._wait("run", self.arun(task, *args, **kwargs))

    async def arun(self, task: Runnable, /, *args: Any, **kwargs: Any) -> Ran:
        """`run` for coroutines."""
        ran = await self.aattempt(task, *args, **kwargs)
        ran.raise_error()
        return ran

    def attempt(self, task: Runnable, /, *args: Any, **kwargs: Any) -> Ran:
        """`run`, but what the handler raises is only reported: as `error` of what is returned."""
        return self._wait("attempt", self.aattempt(task, *args, **kwargs))

    async def aattempt(self, task: Runnable, /, *args: Any, **kwargs: Any) -> Ran:
        """`attempt` for coroutines."""
        called = call(self.app, task, args, kwargs)
        seen: list[Ran] = []
        async with self._stage(seen.append, most=1) as stage:
            if not await stage.next([called.queue]):
                raise KitError(
                    f"{called.type} was not taken: queue {called.queue!r} is paused",
                    hint="Resume it: kit.app.inspector().queues.resume(...).",
                )
        self.ran += seen
        if seen:
            return seen[0]
        parked = self.find(called.queue, called.id)
        return Ran(
            type=called.type,
            id=called.id,
            queue=called.queue,
            at=self.now,
            attempt=parked.retried + 1,
            payload=parked.payload,
            outcome="park",
            next_at=parked.next_at,
        )

    def drain(self, *, raise_errors: bool = False, most: int = MOST) -> Runs:
        """
        Run all that can run now, and what that enqueues, until nothing is left; return what ran.

        One task after the other: of the most urgent queue first, in each in its order. Delayed tasks and
        retries stay where they are, unless they are due.

        Args:
            raise_errors: Stop at the first handler that fails, and raise what it raised.

            most: More tasks than this are an error: one may be asking for the next without end.

        Raises:
            KitError: There were more tasks than *most*.
        """
        return self._wait("drain", self.adrain(raise_errors=raise_errors, most=most))

    async def adrain(self, *, raise_errors: bool = False, most: int = MOST) -> Runs:
        """`drain` for coroutines."""
        return await self._proceed(self._at, run=True, raise_errors=raise_errors, most=most)

    # --- time ---

    def advance(
        self,
        time: Duration | datetime,
        *,
        run: bool = True,
        raise_errors: bool = False,
        most: int = MOST,
    ) -> Runs:
        """
        Let time pass, a duration or until a moment; return what ran meanwhile, in order.

        First comes what can run now. Then the clock goes from event to event: delayed tasks and retries
        become due, ticks of `@app.schedule` are enqueued, groups are merged, locks and what is kept for a
        time end, each at its second; and what can run then runs before time goes on.

        Args:
            run: False: nothing runs; what becomes due is pending in the end.

            raise_errors, most: As for `drain`.

        Raises:
            UsageError: It would go back, or to a fraction of a second.
            KitError: There were more tasks than *most*.
        """
        return self._wait(
            "advance", self.aadvance(time, run=run, raise_errors=raise_errors, most=most)
        )

    async def aadvance(
        self,
        time: Duration | datetime,
        *,
        run: bool = True,
        raise_errors: bool = False,
        most: int = MOST,
    ) -> Runs:
        """`advance` for coroutines."""
        return await self._proceed(
            self._target(time), run=run, raise_errors=raise_errors, most=most
        )

    def on_advance(self, hook: Callable[[datetime], Any]) -> None:
        """
        Call *hook* with the new time whenever the clock of the kit moves.

        For what else has a clock: `kit.on_advance(traveller.move_to)` of time-machine or freezegun.
        """
        self._hooks.append(hook)

    # --- dying ---

    def crash(self, task: Runnable, /, *args: Any, after: Point, **kwargs: Any) -> Crash:
        """
        Run one task in a worker process that is killed (SIGKILL) at a point; then do what its supervisor does.

        So that a test sees what is left, and that `drain()` after it does no harm:

            kit.crash(pay, order=7, after=bank.charge)     # the bank has the money, and nobody noted it
            kit.drain()
            assert len(bank.charges) == 1

        What the process changes in its memory is lost with it; a test should look at files, at a database,
        or at another server.

        Args:
            after: A fail point, such as `handler.before` or `once.done` (`qd.testing.crash.POINTS` has them),
                or a function: the process is killed when it has returned. A payload with a field of this name
                is given by `task.new(...)`.

        Raises:
            UsageError: There is no such point.
            KitError: The task came to its end and never passed there.
        """
        return self._wait("crash", self.acrash(task, *args, after=after, **kwargs))

    async def acrash(self, task: Runnable, /, *args: Any, after: Point, **kwargs: Any) -> Crash:
        """`crash` for coroutines."""
        name_of(after)
        if callable(after):
            returning.check(after)
        return await crash(self.app, call(self.app, task, args, kwargs), after)

    # --- inside ---

    def _stage(self, on_ran: OnRan, *, most: int) -> AbstractAsyncContextManager[Stage]:
        lend = self._loop.lend if self._loop.is_running else None
        return open_stage(self.app, on_ran, most=most, lend=lend)

    async def _proceed(self, until: int, *, run: bool, raise_errors: bool, most: int) -> Runs:
        seen = Runs()

        def note(ran: Ran) -> None:
            seen.append(ran)
            self.ran.append(ran)
            if raise_errors:
                ran.raise_error()

        async with self._stage(note, most=most) as stage:
            while True:
                coming = await stage.settle(run=run)
                if self._at >= until:
                    return seen
                self._move(min(self._next_event(coming), until))

    def _next_event(self, coming: float | None) -> int:
        """The first second after the present at which something may be due."""
        queues = prefixed_queues(self.app.settings)
        found = self.app.operator_link().execute_many(
            [
                ops.first_after(key(queue), self._at)
                for queue in queues
                for key in (keys.scheduled, keys.retry, keys.completed, keys.lease)
            ]
        )
        moments = [one for one in (coming, *found) if one is not None]
        return max(math.ceil(min(moments, default=math.inf)), self._at + 1) if moments else _NEVER

    def _move(self, to: int) -> None:
        passed, self._at = to - self._at, to
        clock.stand_still(to)
        self.app.operator_link().execute(ops.move_clock(to=to, passed=passed))
        for hook in self._hooks:
            hook(self.now)

    def _target(self, time: Duration | datetime) -> int:
        if isinstance(time, datetime):
            until = _whole(time)
        else:
            passing = seconds(time)
            if passing != int(passing):
                raise UsageError(
                    f"the clock of the kit has whole seconds, and {time!r} is none",
                    hint="Tasks are due at whole seconds.",
                )
            until = self._at + int(passing)
        if until < self._at:
            raise UsageError(
                f"it is {self.now:%Y-%m-%d %H:%M:%S}, and time does not go back to {time!r}",
                hint="Open a kit with now=...",
            )
        return until

    def _wait(self, name: str, work: Coroutine[Any, Any, T]) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            work.close()
            raise UsageError(
                f"{name}() was called on an event loop", hint=f"Use `await kit.a{name}(...)` there."
            )
        try:
            return self._loop.wait(work)
        except Interrupted:
            raise KeyboardInterrupt from None


_NEVER = 1 << 62


def _whole(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise UsageError(f"{moment} has no time zone", hint="Use datetime(..., tzinfo=UTC).")
    if moment.microsecond:
        raise UsageError(
            f"the clock of the kit has whole seconds, and {moment} is none",
            hint="Tasks are due at whole seconds.",
        )
    return int(moment.timestamp())
