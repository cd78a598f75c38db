"""
Between the fetch and a slot: gates that let a task pass, or have it wait outside.

A gate holds up tasks without using a slot, a retry or a failure. It says which types and queues it
`concerns`; what concerns no gate never comes here. For each batch a gate answers, task by task:

- `None`: let it pass now.
- `Start(at, latest)`: let it pass at that moment. The task stays with this worker, in no slot, so only
  for moments. If it cannot start before *latest*, as the process was held up, the gate is asked again.
- `Park(until, waits)`: it goes to asynq's `scheduled` set and comes back by itself at *until* (Unix
  seconds), to be asked about again. "Until T" is that alone. "Until woken" is that, with a *safety time*
  as *until*, and a gate that calls the task before, by `endings.unpark`, which puts it at the head of
  its line. Whoever is to call may die: the safety time brings the task back all the same.
  *waits* is for operators: a JSON list of what kind of gate it is, its name, and of whatever.

Gates are asked one after the other. What one lets pass and a later one parks is `unused` for the first.
Every gate that let a task pass hears how its run `ended`, before the outcome is sent to Redis.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from msgspec import Struct

from qd import clock, jsoncodec
from qd.errors import BrokerError
from qd.protocol.op import Op
from qd.runtime.run import Run

_LONGEST_BACKOFF = 1.0


class Start(Struct, frozen=True):
    """Let it pass at that moment, or at the latest then (both of the loop's clock)."""

    at: float
    latest: float = math.inf


class Park(Struct, frozen=True):
    """Let it wait until then (Unix seconds), or until it is called."""

    until: float
    waits: str


Verdict = Start | Park | None

_MISSED = 3
"""How often a task may miss its moment before it starts all the same."""


_FAULTS = 2
"""How often a gate that fails by itself is asked about the same tasks again."""

_AFTER_FAULTS = 60.0
"""Seconds that a task waits outside over which a gate has stumbled."""


class Gate(Protocol):
    """Something that may hold up tasks. Called on the loop; only coroutines may wait."""

    def concerns(self, task_type: str, queue: str) -> bool:
        """True if it has a say on such tasks. Asked once for each type and queue."""

    async def ask(self, runs: Sequence[Run]) -> Sequence[Verdict]:
        """
        Say of each task, in order, whether it may pass.

        A task that has this gate in its `gates` could start before, and has missed its moment.

        A `BrokerError` is no answer: the batch is asked about again, until Redis is back. So asking
        twice about the same task must do no harm.
        """

    def unused(self, run: Run) -> None:
        """A task it let pass is parked by another gate."""

    def ended(self, run: Run, error: BaseException | None) -> None:
        """
        The run of a task it let pass is over: *error* is None if it went well, `LeaseLost` if the task
        goes on elsewhere. Not told of a task that is put back because the worker stops.
        """

    def renewals(self, runs: Sequence[Run]) -> list[Op[Any]]:
        """
        What a heartbeat is to send for the tasks that this worker holds, every five seconds.

        Called in the thread of the heartbeat.
        """

    async def start(self) -> None:
        """Begin, before the first task is taken."""

    async def settled(self) -> None:
        """Wait until all is sent that it has heard of."""

    async def stop(self) -> None:
        """End, after the last outcome was sent."""


class Admission:
    """
    Takes fetched tasks through the gates. *submit* starts a task, *park* lets it wait outside,
    *on_free* hears that fewer tasks are being asked about.
    """

    def __init__(
        self,
        gates: Sequence[Gate],
        *,
        submit: Callable[[Run], None],
        park: Callable[[Run, float, str], None],
        on_free: Callable[[], None],
    ) -> None:
        self.asking = 0
        """Tasks that may want a slot in a moment."""
        self._gates = gates
        self._submit = submit
        self._park = park
        self._on_free = on_free
        self._loop = asyncio.get_running_loop()
        self._concerned: dict[tuple[str, str], tuple[Gate, ...]] = {}
        self._asked: set[asyncio.Task[None]] = set()
        # Between the fetch and a slot: fetched and not answered for, or let pass with a delay.
        self._between: dict[Run, asyncio.TimerHandle | None] = {}
        self._log = logging.getLogger("qd.admission")

    def gates_of(self, task_type: str, queue: str) -> tuple[Gate, ...]:
        """The gates that have a say on such tasks."""
        try:
            return self._concerned[task_type, queue]
        except KeyError:
            found = tuple(gate for gate in self._gates if gate.concerns(task_type, queue))
            self._concerned[task_type, queue] = found
            return found

    def ask(self, runs: list[Run]) -> None:
        """Take tasks of one fetch, in their order, through the gates."""
        self._between.update(dict.fromkeys(runs))
        self._begin(runs, self._gates)

    async def start(self) -> None:
        for gate in self._gates:
            await gate.start()

    def take_waiting(self) -> list[Run]:
        """Ask about nothing more; return the tasks that have not started, which then never will."""
        for task in self._asked:
            task.cancel()
        waiting = list(self._between)
        for timer in self._between.values():
            if timer is not None:
                timer.cancel()
        self._between.clear()
        return waiting

    def renewals(self, runs: Sequence[Run]) -> list[Op[Any]]:
        """What the gates want sent with a heartbeat."""
        return [step for gate in self._gates for step in gate.renewals(runs)]

    async def settled(self) -> None:
        """Wait until the gates have sent all that they have heard of."""
        for gate in self._gates:
            await gate.settled()

    async def stop(self) -> None:
        """Stop the gates, when all outcomes are sent."""
        for gate in self._gates:
            await gate.stop()

    def _begin(self, runs: list[Run], gates: Sequence[Gate], missed: int = 0) -> None:
        self.asking += len(runs)
        task = self._loop.create_task(self._ask(runs, gates, missed))
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)

    async def _ask(self, runs: list[Run], gates: Sequence[Gate], missed: int) -> None:
        timed: dict[Run, list[tuple[Start, Gate]]] = {}
        left = runs
        for gate in gates:
            asked = [run for run in left if gate in self.gates_of(run.message.type, run.queue)]
            if not asked:
                continue
            verdicts = await self._answers(gate, asked)
            parked = set()
            for run, verdict in zip(asked, verdicts, strict=True):
                if isinstance(verdict, Park):
                    parked.add(run)
                    self._let_wait(run, verdict)
                    continue
                if gate not in run.gates:
                    run.gates += (gate,)
                if verdict is not None:
                    timed.setdefault(run, []).append((verdict, gate))
            left = [run for run in left if run not in parked]
        for run in left:
            if run in timed:
                self._start_at(run, timed[run], missed)
            else:
                self._start(run)
        self.asking -= len(runs)
        self._on_free()

    async def _answers(self, gate: Gate, runs: list[Run]) -> Sequence[Verdict]:
        attempt = 0
        while True:
            try:
                return await gate.ask(runs)
            except BrokerError as error:
                if not attempt:
                    self._log.warning("%d tasks wait at %s: %s", len(runs), gate, error)
            except Exception:  # noqa: BLE001 - tasks are kept whatever a gate meets
                self._log.exception("%d tasks wait at %s", len(runs), gate)
                if attempt == _FAULTS:
                    return await self._one_by_one(gate, runs)
            await asyncio.sleep(min(0.05 * 2 ** min(attempt, 8), _LONGEST_BACKOFF))
            attempt += 1

    async def _one_by_one(self, gate: Gate, runs: list[Run]) -> Sequence[Verdict]:
        """One task may be what *gate* stumbles over: it waits outside, and the others pass."""
        if len(runs) == 1:
            waits = jsoncodec.dumps(["gate", str(gate).removeprefix("the ")]).decode()
            return [Park(clock.now() + _AFTER_FAULTS, waits)]
        answers = await asyncio.gather(*(self._answers(gate, [run]) for run in runs))
        return [verdict for one in answers for verdict in one]

    def _start_at(self, run: Run, starts: list[tuple[Start, Gate]], missed: int) -> None:
        at = max(start.at for start, _ in starts)
        if at > self._loop.time():
            timer = self._loop.call_at(at, self._start_in_time, run, starts, missed)
            self._between[run] = timer
        else:
            self._start_in_time(run, starts, missed)

    def _start_in_time(self, run: Run, starts: list[tuple[Start, Gate]], missed: int) -> None:
        now = self._loop.time()
        late = [gate for start, gate in starts if start.latest < now]
        if late and missed < _MISSED:
            self._between[run] = None
            self._begin([run], late, missed + 1)
        else:
            self._start(run)

    def _start(self, run: Run) -> None:
        del self._between[run]
        self._submit(run)

    def _let_wait(self, run: Run, verdict: Park) -> None:
        del self._between[run]
        for gate in run.gates:
            gate.unused(run)
        run.gates = ()
        run.ended = True
        self._park(run, verdict.until, verdict.waits)
