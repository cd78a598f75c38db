"""
One worker process from inside: builds the parts, wires them, starts and stops them in order.

Start: presence first, so that no task is ever held by a worker nobody can see; then the ears; the
fetcher last, when everything a task needs is there. Stop: see `Worker.stop`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from qd import birthmark, failpoint
from qd.broker.async_link import AsyncLink
from qd.broker.connect import open_async_link, open_link, open_node_link
from qd.broker.endpoint import Endpoint, Topology
from qd.errors import BrokerError, DecodeError
from qd.handlers.context import Context
from qd.handlers.middleware import Middleware
from qd.handlers.moved import OnTransition
from qd.handlers.retries import RetryRules
from qd.handlers.routing import Router
from qd.protocol import codec
from qd.protocol.constants import HEARTBEAT
from qd.protocol.message import TaskMessage, Terms
from qd.protocol.ops import presence
from qd.protocol.ops.endings import Held
from qd.protocol.ops.tasks import Taken
from qd.protocol.orders import Order, Verb
from qd.runtime.admission import Admission, Gate
from qd.runtime.backing import WorkerBacking
from qd.runtime.executor import Executor, reason_of
from qd.runtime.fetcher import Fetcher
from qd.runtime.finisher import Finisher
from qd.runtime.heartbeater import Heartbeater
from qd.runtime.held import HeldTasks
from qd.runtime.judge import IsFailure, Judge, OnError
from qd.runtime.lease_clock import LeaseClock
from qd.runtime.limits import TimeLimits
from qd.runtime.listeners import Listener
from qd.runtime.looks import Looks
from qd.runtime.patience import Patience
from qd.runtime.run import Run, Stop
from qd.runtime.run_log import RunLog
from qd.runtime.run_meter import RunMeter
from qd.runtime.stacks import stack_of
from qd.runtime.threads import StartThread, start_thread
from qd.runtime.transitions import Transitions
from qd.runtime.watcher import Watcher

NoteRunning = Callable[[str, float | None], None]
MakeGates = Callable[[AsyncLink, str], Sequence[Gate]]
"""Makes the gates of a worker of the link that outcomes are sent on, and the name of the worker."""

_log = logging.getLogger("qd.worker")

_PATIENCE = 0.3
"""Seconds this process has, after limit and grace, to part with a handler before it counts as hung."""

_DRAIN = 2.0
"""Seconds that stopping waits for the last outcomes to reach Redis, when its time is over."""

_LAST_TRIES = 1.0
"""Seconds of these in which what still runs is put back, should Redis be away."""


class WorkerOptions(Struct, frozen=True):
    """What one worker process needs to know. Times in seconds."""

    queues: Mapping[str, int]
    concurrency: int = 10
    strict: bool = False
    polling: bool = True
    hard_grace: float = 5.0
    middleware: Sequence[Middleware] = ()
    on_error: OnError | None = None
    is_failure: IsFailure | None = None
    on_transition: Sequence[OnTransition] = ()
    state: Mapping[str, Any] = field(default_factory=dict)
    queue_prefix: str = ""
    once_keep: float = 7 * 24 * 3600.0
    make_gates: MakeGates = lambda _link, _owner: ()


class Worker:
    """
    Takes tasks from the queues and runs them until stopped. Made and used inside a running loop.

    *supervisor* is the pid of the process that looks after this one, and tells of its death, if there
    is one. *note_running* is told the keys of tasks whose code starts, with the moment (Unix seconds) by which
    it has ended or this process hangs, and, without one, has ended (for the supervisor),
    *on_unstoppable* that a handler does not end and this process should be replaced,
    *on_stop_order* that an operator wants the program that this worker is part of to stop,
    *on_quiet_order* that one has made it quiet, or ended that. *start_thread* gives threads for synchronous
    handlers. *listener* is its place among the worker processes of the host.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        router: Router,
        retry_rules: RetryRules,
        options: WorkerOptions,
        *,
        supervisor: int | None = None,
        note_running: NoteRunning = lambda _key, _until: None,
        on_unstoppable: Callable[[], None] = lambda: None,
        on_stop_order: Callable[[], None] = lambda: None,
        on_quiet_order: Callable[[bool], None] = lambda _quiet: None,
        start_thread: StartThread = start_thread,
        listener: Listener | None = None,
    ) -> None:
        self.server_id = str(uuid.uuid4())
        self.done = 0
        self._meter = RunMeter.of_this_process()
        self._options = options
        self._note_running = note_running
        self._on_unstoppable = on_unstoppable
        self._on_stop_order = on_stop_order
        self._on_quiet_order = on_quiet_order
        self._answers: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._run_log = RunLog(self._loop.call_soon)
        self._held = HeldTasks()
        self._patience = Patience()
        self._lease_clock = LeaseClock()
        # One for all that is asked about tasks: an ending and the next fetch go out in one piece.
        self._link = open_async_link(endpoint)
        self._executor = Executor(
            router,
            options.middleware,
            slots=options.concurrency,
            start_thread=start_thread,
            make_context=self._make_context,
            on_started=self._on_started,
            on_left=self._on_left,
            on_ended=self._on_ended,
            on_free=lambda: self._fetcher.slot_freed(),
        )
        self._backing = WorkerBacking(
            self._link,
            self.server_id,
            self._executor.running.get,
            queue_prefix=options.queue_prefix,
            once_keep=options.once_keep,
        )
        # None as for most workers: no task pays for what it has no use for.
        hooks = options.on_transition
        self._transitions = told = Transitions(hooks) if hooks else None
        looks = Looks.among(router, retry_rules)
        self._judge = Judge(
            retry_rules, looks, is_failure=options.is_failure, on_error=options.on_error
        )
        self._finisher = Finisher(
            self._link,
            self.server_id,
            self._held,
            None if told is None else told.ended,
            None if looks is None else looks.is_poll,
            queue_prefix=options.queue_prefix,
        )
        gates = options.make_gates(self._link, self.server_id)
        self._admission = self._make_admission(gates) if gates else None
        self._watcher = Watcher(
            partial(open_node_link, endpoint),
            options.queues,
            tracking=endpoint.topology is not Topology.CLUSTER,
            on_ready=self._on_ready,
            on_cancel=self._on_cancel,
            on_order=self._on_order,
            is_first=lambda: listener is None or listener.is_first,
        )
        self._fetcher = Fetcher(
            self._link,
            options.queues,
            strict=options.strict,
            owner=self.server_id,
            random=random.random,
            free=self._free_slots,
            lease_until=self._lease_clock.lease_until,
            arm=self._watcher.arm,
            deliver=self._deliver if told is None else told.before(self._deliver),
            waits=(
                (lambda _free: None)
                if listener is None
                else partial(listener.note, slots=options.concurrency)
            ),
        )
        self._heartbeater = Heartbeater(
            # Who waits longer than this for an answer renews too late.
            open_link(replace(endpoint, call_timeout=min(endpoint.call_timeout, HEARTBEAT))),
            server_id=self.server_id,
            queues=options.queues,
            strict=options.strict,
            concurrency=options.concurrency,
            types=router.patterns,
            held=self._held,
            lease_clock=self._lease_clock,
            birthmark=birthmark.of(os.getpid(), *([supervisor] if supervisor else [])),
            running=lambda: list(self._executor.running.values()),
            on_lost=self._on_lost,
            more=lambda runs: [] if self._admission is None else self._admission.renewals(runs),
        )
        self._limits = TimeLimits(
            lambda: self._executor.running.values(),
            hard_grace=options.hard_grace,
            stop_run=self._executor.stop_run,
            give_up=self._give_up,
        )

    @property
    def busy(self) -> int:
        return self._executor.busy

    @property
    def waiting(self) -> bool:
        """True if there is work this process could take and has not taken."""
        return self._options.polling and self._free_slots() > 0 and self._fetcher.neglects_work

    @property
    def drained(self) -> bool:
        """True if nothing is held and no queue is known to have tasks."""
        return not self._held and self._fetcher.idle

    async def start(self) -> None:
        await self._lease_clock.ask(self._link)
        self._heartbeater.start()
        self._limits.start()
        await self._watcher.start()
        if self._admission is not None:
            await self._admission.start()
        if self._options.polling:
            self._fetcher.start()

    def quiet(self, quiet: bool) -> None:
        """Take no new tasks, or take them again; running ones go on."""
        self._fetcher.quiet(quiet)
        self._heartbeater.show("stopped" if quiet else "active")

    async def stop(self, within: float) -> None:
        """
        Stop in order; tasks still running after *within* seconds are put back, uncharged.

        1 nothing new comes in; 2 running tasks may end; 3 the rest is put back *before* its code is
        cancelled, because a task lost is worse than a task run twice; 4 outcomes reach Redis;
        5 the ears close; 6 the heartbeat stops last, because leases live as long as tasks do.
        While Redis is away, *within* is the time that it has to come back.
        """
        until = self._loop.time() + within
        self._heartbeater.show("stopped")
        await self._fetcher.stop()
        if self._admission is not None:
            await self._put_back(self._admission.take_waiting(), until)
        await self._put_back(self._executor.take_waiting(), until)
        if await self._executor.wait_idle(max(until - self._loop.time(), 0.0)):
            await self._patience.wait(self._finisher.written(), until)
        else:
            await self._put_back(list(self._executor.running.values()), until + _LAST_TRIES)
        left = until + _DRAIN - self._loop.time()
        await self._finisher.drain(min(max(left, _PATIENCE), _DRAIN))
        if self._admission is not None:
            await self._admission.stop()
        failpoint.hit("stop.drained")
        await self._limits.stop()
        await self._watcher.stop()
        await self._heartbeater.stop()
        await self._executor.close()
        await self._link.close()

    async def hurry(self) -> None:
        """While stopping: wait no longer, put back now what still runs."""
        self._patience.hurry()
        await self._put_back(list(self._executor.running.values()))
        self._executor.stop_waiting()

    async def _put_back(self, runs: list[Run], until: float = 0.0) -> None:
        """Put tasks back, with new tries until a time of the loop if Redis is away; then stop their code."""
        by_queue: dict[str, list[Run]] = {}
        oldest_first = sorted(runs, key=lambda one: one.started_at or math.inf)
        # The oldest is put back last: it is then the next to run.
        for run in oldest_first[::-1]:
            by_queue.setdefault(run.queue, []).append(run)
        for queue, members in by_queue.items():
            failpoint.hit("requeue.before")
            try:
                step = partial(self._finisher.put_back, queue, members)
                written = await self._patience.repeat(step, until)
                if self._transitions is not None:
                    self._transitions.put_back(written)
                for run in written:
                    _log.info("put back task %s of %s", run.message.id, queue)
            except BrokerError as error:
                _log.warning(
                    "%d tasks of %s were not put back, they run again when their leases end: %s",
                    len(members), queue, error,
                )  # fmt: skip
            failpoint.hit("requeue.after")
            for run in (one for one in members if not one.ended):
                self._executor.stop_run(run, Stop.PUT_BACK)
                self._leave_behind(run)
                self._held.discard(run)

    # --- what the parts tell each other ---

    def _on_ready(self, queues: Any) -> None:
        self._fetcher.ready(queues)

    def _on_cancel(self, task_id: str) -> None:
        for run in self._held.by_id(task_id):
            self._run_log.cancelled(run)
            self._executor.stop_run(run, Stop.CANCEL)

    def _on_order(self, order: Order) -> None:
        if order.server_id != self.server_id:
            return
        match order.verb:
            case Verb.QUIET | Verb.RESUME:
                _log.info("an operator asked for: %s", order.verb)
                self.quiet(order.verb is Verb.QUIET)
                self._on_quiet_order(order.verb is Verb.QUIET)
            case Verb.STOP:
                _log.info("an operator asked for: stop")
                self._on_stop_order()
            case Verb.STACK:
                answer = self._loop.create_task(self._answer_stack(order))
                self._answers.add(answer)
                answer.add_done_callback(self._answers.discard)

    async def _answer_stack(self, order: Order) -> None:
        runs = (run for run in self._executor.running.values() if run.message.id == order.task_id)
        stack = "\n".join(map(stack_of, runs))
        with contextlib.suppress(BrokerError):
            await self._link.execute(presence.write_answer(order.reply_key, stack))

    def _on_lost(self, run: Run) -> None:
        if not run.ended:
            _log.warning("lease of task %s in %s lost; ending its run", run.message.id, run.queue)
            self._executor.stop_run(run, Stop.LEASE_LOST)

    def _make_admission(self, gates: Sequence[Gate]) -> Admission:
        return Admission(
            gates,
            submit=self._executor.submit,
            park=self._finisher.park,
            on_free=lambda: self._fetcher.slot_freed(),
        )

    def _free_slots(self) -> int:
        asking = 0 if self._admission is None else self._admission.asking
        return self._executor.free - asking

    def _deliver(self, queue: str, taken: list[Taken], lease_until: int) -> None:
        self._run_log.look_at_levels()
        admission = self._admission
        gated: list[Run] = []
        for one in taken:
            held = Held(one.id, lease_until, lease_until)
            try:
                message = codec.decode_task(one.message)
            except DecodeError as error:
                self._archive_undecodable(queue, one, held, error)
                continue
            # The place it was taken from counts, whatever an edited message says.
            run = Run(message, queue, held, one.deaths, one.pending_since)
            self._held.add(run)
            if admission is not None and admission.gates_of(message.type, queue):
                gated.append(run)
            else:
                self._executor.submit(run)
        if admission is not None and gated:
            admission.ask(gated)

    def _archive_undecodable(
        self, queue: str, taken: Taken, held: Held, error: DecodeError
    ) -> None:
        """Keep the bytes, by the id alone; nothing else is held up."""
        _log.error("task %s in %s is archived as it is: %s", taken.id, queue, error)
        message = TaskMessage("", b"", taken.id, Terms(queue=queue))
        run = Run(message, queue, held, taken.deaths)
        self._held.add(run)
        run.ended = True
        self._finisher.add_raw(run)

    def _make_context(self, run: Run) -> Context:
        return Context(run.message, run.deadline_at, self._backing, self._options.state)

    def _on_started(self, run: Run) -> None:
        hung_from = run.deadline_at + self._options.hard_grace + _PATIENCE
        self._note_running(run.key, hung_from)
        if self._meter is not None:
            self._meter.started(run)
        self._run_log.started(run)

    def _on_left(self, run: Run) -> None:
        self._note_running(run.key, None)

    def _leave_behind(self, run: Run) -> None:
        """Wait no longer for a run; its code may go on, and may still be what kills this process."""
        self._executor.give_up(run)
        if run.task is not None:
            self._note_running(run.key, None)
            self._note_running(run.key, math.inf)

    def _on_ended(self, run: Run, result: bytes | None, error: BaseException | None) -> None:
        try:
            for gate in run.gates:
                gate.ended(run, error)
            if run.stop is not Stop.LEASE_LOST:
                self._finish(run, result, error)
                return
        except Exception:  # noqa: BLE001 - see the comment
            # Renewed for ever, its lease would keep it from ever running again.
            _log.exception("task %s has no outcome; its lease runs out", run.message.id)
        self._held.discard(run)

    def _finish(self, run: Run, result: bytes | None, error: BaseException | None) -> None:
        if run.context is not None and run.context.has_news:
            self._backing.ending(run)
        decided = self._judge.decide(run, error)
        self.done += 1
        if self._meter is not None:
            self._meter.ended(run, decided)
        self._finisher.add(run, decided, result)
        self._run_log.ended(run, decided, error)

    def _give_up(self, run: Run) -> None:
        """A handler ignores that it should end: settle its task, and ask to be replaced."""
        if run.ended:
            return
        _log.error(
            "task %s (%s) did not end %.1f s after it was told to (%s); replacing this process",
            run.message.id, run.message.type, self._options.hard_grace, run.stop,
        )  # fmt: skip
        self._leave_behind(run)
        self._on_ended(run, None, reason_of(run))
        self._on_unstoppable()
