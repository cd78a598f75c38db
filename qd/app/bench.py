"""
`qd bench`: what this Redis, this host and these settings can do, measured with a real worker.

Everything happens in a queue of its own that is removed at the end, whatever happened.
"""

from __future__ import annotations

import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from msgspec import Struct

from qd.app.bench_handlers import LATENCY, NOTHING
from qd.app.bench_usage import usage
from qd.broker.link import Link
from qd.client.client import Client, NewEnqueue
from qd.errors import BrokerError, QdError, TimedOut, UsageError
from qd.handlers.options import TaskOptions
from qd.inspector.inspector import Inspector
from qd.inspector.views import ServerView
from qd.protocol import keys
from qd.protocol.op import command
from qd.protocol.ops import inspect_presence
from qd.protocol.state import TaskState

HANDLERS = "qd.app.bench_handlers"
_ROUND_TRIPS = 300
_SINGLE_TASKS = 100
_PAUSE = 0.01
"""Seconds between two tasks whose latency is measured: the worker is idle again by then."""

_AT_ONCE = 1000
_READY = 20.0
_STOPPING = 20.0
_LOOK = 0.05
_KEEP = 300.0
"""Seconds that results are kept, should they not be removed with the queue."""


class Plan(Struct, frozen=True):
    """How much to do and with how many; *seconds* end a run that has not got through its tasks."""

    processes: int
    concurrency: int
    tasks: int
    seconds: float


class Load(Struct, frozen=True):
    """What is run: an application, a task type of it and the payload of each task."""

    app: str
    task_type: str
    payload: Any


NOTHING_AT_ALL = Load(HANDLERS, NOTHING, {"x": 1})


class Drained(Struct, frozen=True):
    """
    One run over a queue that was full at its start.

    Rates are tasks per second. `worker` is the part of a core that each worker process took,
    `redis` that of Redis (None where it does not tell), `host` the part of all CPUs that was busy.
    """

    tasks: int
    seconds: float
    failed: int
    enqueue_rate: float
    worker: float
    redis: float | None
    host: float

    @property
    def rate(self) -> float:
        return self.tasks / self.seconds


class Measured(Struct, frozen=True):
    """Times in seconds. `latency`: from the enqueue call to the handler's first line, median, 99 %."""

    plan: Plan
    round_trip: float
    latency: tuple[float, float]
    nothing: Drained
    own: Drained | None


class Bench:
    """One measurement. *arguments* give a `qd worker` the same configuration as this process has."""

    def __init__(
        self,
        client: Client,
        inspector: Inspector,
        link: Link,
        plan: Plan,
        *,
        stored: Callable[[str], str],
        arguments: Sequence[str],
        advance: Callable[[int], None],
    ) -> None:
        self._client = client
        self._inspector = inspector
        self._link = link
        self._plan = plan
        self._arguments = arguments
        self._advance = advance
        self.queue = f"qd-bench-{secrets.token_hex(4)}"
        self._stored = stored(self.queue)
        self._owners: set[str] = set()

    def run(self, own: Load | None) -> Measured:
        """
        Measure; the queue is gone afterwards, also when this is interrupted.

        Raises:
            QdError: The worker did not start; the message ends with what it said.
            UsageError: The application has no handler for the own load.
        """
        try:
            with self._working(HANDLERS):
                latency = self._latency()
                nothing = self._drain(NOTHING_AT_ALL)
            found = None
            if own is not None:
                with self._working(own.app):
                    self._require_handler(own.task_type)
                    found = self._drain(own)
            return Measured(self._plan, self._round_trip(), latency, nothing, found)
        finally:
            self._remove_queue()

    def _remove_queue(self) -> None:
        if self._stored in self._inspector.queues.names():
            self._inspector.queues.remove(self._stored, force=True)
        for owner in self._owners:
            # Would go by itself after a while.
            self._link.execute(command("DEL", [keys.fetch(self._stored, owner)], [], int))

    @contextmanager
    def _working(self, app: str) -> Iterator[None]:
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(  # noqa: S603 - this program itself
                self._command(app), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we stop the worker in order
            )  # fmt: skip
            try:
                self._wait_until_ready(process, log)
                self._pid = process.pid
                yield
            finally:
                process.terminate()
                try:
                    process.wait(_STOPPING)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _command(self, app: str) -> list[str]:
        plan = self._plan
        return [
            sys.executable, "-m", "qd", "worker", *self._arguments,
            "--app", app, "--queues", f"{self.queue}=1", "--no-scheduler",
            "--processes", str(plan.processes), "--concurrency", str(plan.concurrency),
            "--shutdown-timeout", "2s", "--set", "log.file=", "--set", "worker.polling=true",
        ]  # fmt: skip

    def _wait_until_ready(self, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        deadline = time.monotonic() + _READY
        while len(self._workers()) < self._plan.processes:
            ended = process.poll() is not None
            if ended or time.monotonic() > deadline:
                log.seek(0)
                said = log.read().decode(errors="replace").strip()
                kind = QdError if ended else TimedOut
                raise kind(f"the worker did not start; it said:\n{said}")
            time.sleep(_LOOK)

    def _workers(self) -> list[ServerView]:
        """Those that serve the queue, as they show themselves."""
        servers = self._inspector.servers.list()
        found = [one for one in servers if self._stored in dict(one.queues)]
        self._owners.update(one.id for one in found)
        return found

    def _require_handler(self, task_type: str) -> None:
        workers = self._workers()
        if not any(one.knows(task_type) for one in workers):
            known = sorted({name for one in workers for name in one.types or ()})
            raise UsageError(
                f"The application has no handler for tasks of type {task_type!r}.",
                hint=f"It has handlers for: {', '.join(known) or 'nothing'}.",
            )

    def _round_trip(self) -> float:
        ping = command("PING", [], [], bool)
        took = []
        for _ in range(_ROUND_TRIPS):
            began = time.perf_counter()
            self._link.execute(ping)
            took.append(time.perf_counter() - began)
        return statistics.median(took)

    def _latency(self) -> tuple[float, float]:
        """Single tasks for an idle worker: median and 99th percentile in seconds."""
        for _ in range(_SINGLE_TASKS):
            self._client.enqueue(
                LATENCY, {"sent_ns": time.time_ns()}, queue=self.queue, retention=_KEEP
            )
            time.sleep(_PAUSE)
        deadline = time.monotonic() + _READY
        while self._inspector.queues.info(self._stored).completed < _SINGLE_TASKS:
            if time.monotonic() > deadline:
                raise TimedOut("single tasks on an idle worker were not run")
            time.sleep(_LOOK)
        ended = self._inspector.tasks.list(self._stored, TaskState.COMPLETED, limit=_SINGLE_TASKS)
        took = sorted(int(one.result or b"0") / 1e9 for one in ended)
        return statistics.median(took), took[int(len(took) * 0.99) - 1]

    def _drain(self, load: Load) -> Drained:
        """Fill the queue while it is paused, and watch it being emptied."""
        queues, plan = self._inspector.queues, self._plan
        queues.pause(self._stored, by="qd bench")
        enqueue_rate = self._fill(load)
        before = queues.info(self._stored)
        redis, used, began = self._redis_cpu(), usage(self._pid), time.monotonic()
        queues.resume(self._stored)
        finished, took = 0, 0.0
        while finished < plan.tasks and took < plan.seconds:
            time.sleep(_LOOK)
            view = queues.info(self._stored)
            took = time.monotonic() - began
            now_finished = plan.tasks - view.pending - view.active
            self._advance(now_finished - finished)
            finished = now_finished
        spent, redis_now = usage(self._pid).since(used), self._redis_cpu()
        self._advance(plan.tasks - finished)
        queues.pause(self._stored, by="qd bench")
        queues.purge(self._stored, TaskState.PENDING)
        queues.resume(self._stored)
        return Drained(
            tasks=max(finished, 1),
            seconds=took,
            # Some more may have ended since the last look at them.
            failed=min(queues.info(self._stored).failed_total - before.failed_total, finished),
            enqueue_rate=enqueue_rate,
            worker=spent.program / took / plan.processes,
            redis=None if redis is None or redis_now is None else (redis_now - redis) / took,
            host=spent.busy / spent.all if spent.all else 0.0,
        )

    def _fill(self, load: Load) -> float:
        """Enqueue all tasks in calls of a thousand; return the rate."""
        options = TaskOptions(queue=self.queue, max_retry=0)
        one = NewEnqueue(load.task_type, load.payload, options)
        began = time.monotonic()
        for first in range(0, self._plan.tasks, _AT_ONCE):
            count = min(_AT_ONCE, self._plan.tasks - first)
            for answer in self._client.enqueue_many([one] * count):
                if isinstance(answer, QdError):
                    raise answer
        return self._plan.tasks / (time.monotonic() - began)

    def _redis_cpu(self) -> float | None:
        """CPU seconds of Redis up to now, if it is one server and tells."""
        try:
            facts = self._link.execute(inspect_presence.redis_info())
            if facts.get("cluster_enabled") == "1":
                return None
            return float(facts["used_cpu_user"]) + float(facts["used_cpu_sys"])
        except (BrokerError, KeyError):
            return None
