"""The operations of the alphabet on qd: its own operations over a link, its inspector, its recoverer."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections.abc import Sequence
from typing import Any

from qd.broker.link import Link
from qd.client.compose import Composer
from qd.config.tasks import RetrySettings
from qd.errors import BrokerRefused, QdError, QueueNotFound, TaskNotFound, WrongState
from qd.handlers.options import NO_OPTIONS, TaskOptions
from qd.handlers.retries import RetryRules
from qd.handlers.routing import Router
from qd.inspector.inspector import Inspector
from qd.maintenance.counters import Counters
from qd.maintenance.recoverer import Recoverer
from qd.policy.outcome import Action, Outcome, succeeded
from qd.protocol import codec, constants
from qd.protocol.op import Op
from qd.protocol.ops import endings, groups, tasks, upkeep
from qd.protocol.ops.endings import Ending, Fate, Held
from qd.protocol.state import TaskState
from qd.runtime.finisher import _OPERATIONS, _ending
from qd.runtime.run import Run
from tests.compat.differential.asynq_side import RETRY_DELAY
from tests.compat.differential.store import QUEUE

_OUTCOMES = {
    "retry": Outcome(Action.RETRY, "failed", RETRY_DELAY),
    "again": Outcome(Action.RETRY, "failed", RETRY_DELAY, is_failure=False),
    "archive": Outcome(Action.ARCHIVE, "failed"),
}
_RULES = RetryRules(RetrySettings(policy="fixed", initial=RETRY_DELAY), {}, Router(), random.random)


class QdSide:
    """qd on one database. `now` is the present, in Unix seconds, and stands still."""

    def __init__(self, link: Link, now: int, owner: str = "worker-1") -> None:
        self._link = link
        self._now = now
        self._owner = owner
        self._day = dt.datetime.fromtimestamp(now, dt.UTC).date().isoformat()
        self._composer = Composer(NO_OPTIONS, queue_prefix="", payload_limit=1 << 20)
        self._inspector = Inspector(link, clock=lambda: float(now))
        self._nonce = 0
        self._runs: dict[str, Run] = {}

    def apply(self, op: dict[str, Any]) -> Any:
        """Carry out one operation and return the answer in the words of the other side."""
        try:
            return getattr(self, "_" + op["op"].replace("-", "_"), self._inspect)(op)
        except (TaskNotFound, QueueNotFound):
            return "not-found"
        except (WrongState, BrokerRefused):
            return "refused"

    def second_worker(self) -> QdSide:
        """Another worker on the same database."""
        return QdSide(self._link, self._now, "worker-2")

    def age(self, seconds: int) -> None:
        """The worker knows its leases by the numbers it wrote, and those have become smaller."""
        for run in self._runs.values():
            held = run.held
            run.held = Held(held.id, held.low - seconds, held.high - seconds)

    def _enqueue(self, op: dict[str, Any]) -> str:
        given = {
            name: op[name] for name in ("max_retry", "retention", "headers", "group", "unique")
            if op.get(name) is not None
        }  # fmt: skip
        if op.get("delay"):
            given["process_at"] = dt.datetime.fromtimestamp(self._now + op["delay"], dt.UTC)
        payload = op.get("payload")
        body = None if payload is None else payload.encode()
        options = TaskOptions.of(queue=QUEUE, task_id=op["id"], **given)
        composed = self._composer.compose(op["type"], body, options, now=self._now)
        step: Op[list[tasks.Refused | None]]
        if composed.state is TaskState.SCHEDULED:
            step = tasks.schedule(QUEUE, [composed.new])
        elif composed.state is TaskState.AGGREGATING:
            step = tasks.add_to_group(QUEUE, [composed.new], now=self._now)
        else:
            step = tasks.enqueue(QUEUE, [composed.new], now_ns=self._now_ns)
        refused = self._link.execute_many([tasks.announce([QUEUE]), step])[1][0]
        if refused is None:
            return "ok"
        return "duplicate" if refused.holder else "conflict"

    @property
    def _now_ns(self) -> int:
        return self._now * 1_000_000_000

    def _dequeue(self, op: dict[str, Any]) -> list[str]:
        self._nonce += 1
        until = self._now + constants.LEASE
        step = tasks.dequeue(
            QUEUE,
            count=op.get("count", 1),
            owner=self._owner,
            nonce=str(self._nonce),
            lease_until=until,
        )
        messages = [codec.decode_task(one.message) for one in self._link.execute(step) or ()]
        for message in messages:
            self._runs[message.id] = Run(message, QUEUE, Held(message.id, until, until), 0)
        return [message.id for message in messages]

    def _end(self, op: dict[str, Any]) -> list[str]:
        """As the finisher does it: a batch for each kind of outcome."""
        runs = [self._runs.pop(task_id) for task_id in op["tasks"]]
        if op["how"] == "requeue":
            held = [run.held for run in runs]
            step = endings.requeue(QUEUE, self._owner, held, now_ns=self._now_ns)
            return [_fate(fate) for fate in self._link.execute(step)]
        batches: dict[Action, list[Ending]] = {}
        for run in runs:
            outcome = _OUTCOMES.get(op["how"]) or succeeded(run.message.terms.retention)
            ending = _ending(run, outcome, None, self._now)
            batches.setdefault(outcome.action, []).append(ending)
        fates = {}
        for action, endings_ in batches.items():
            step = _OPERATIONS[action](QUEUE, self._owner, endings_, day=self._day, now=self._now)
            ids = [one.held.id for one in endings_]
            fates.update(zip(ids, self._link.execute(step), strict=True))
        return [_fate(fates[task_id]) for task_id in op["tasks"]]

    def _result(self, op: dict[str, Any]) -> str:
        run = self._runs.get(op["id"])
        held = run.held if run is not None else Held(op["id"], 0, 0)
        step = endings.write_result(QUEUE, self._owner, held, op["result"].encode())
        return "ok" if self._link.execute(step) is Fate.OK else "not-found"

    def _extend(self, op: dict[str, Any]) -> str:
        run = self._runs[op["id"]]
        until = self._now + constants.LEASE
        fate = self._link.execute(
            endings.extend(QUEUE, self._owner, [run.held], lease_until=until)
        )[0]
        run.held = Held(op["id"], until, until)
        return _fate(fate)

    def _forward(self, op: dict[str, Any]) -> None:
        for source in (TaskState.SCHEDULED, TaskState.RETRY):
            self._link.execute(upkeep.forward(QUEUE, source, now_ns=self._now_ns, limit=100))

    def _janitor(self, op: dict[str, Any]) -> None:
        self._link.execute(upkeep.delete_expired_completed(QUEUE, now=self._now, limit=100))

    def _recover(self, op: dict[str, Any]) -> None:
        """`rounds` (1) of the recoverer, a minute each: some things it wants to see twice, and no gap between."""
        link: Any = _Awaitable(self._link)
        recoverer = Recoverer(link, [QUEUE], _RULES, interval=1, counts=Counters())
        for second in range(0, 60 * op.get("rounds", 1) - 59, 1):
            asyncio.run(recoverer.step(self._now + second))

    def _stage(self, op: dict[str, Any]) -> str:
        step = groups.check(
            QUEUE, op["group"], op["set"],
            max_size=op["max_size"], max_delay=op["max_wait"], grace=op["grace"], now=self._now,
        )  # fmt: skip
        return op["set"] if self._link.execute(step) else ""

    def _merge(self, op: dict[str, Any]) -> str:
        options = TaskOptions.of(queue=QUEUE, task_id=op["id"])
        composed = self._composer.compose("merged", b"all", options, now=self._now)
        step = groups.aggregate(
            QUEUE, op["group"], op["set"], composed.new, composed.state, now_ns=self._now_ns
        )
        return {
            groups.Aggregated.DONE: "ok",
            groups.Aggregated.GONE: "not-found",
            groups.Aggregated.ID_IN_USE: "conflict",
            groups.Aggregated.LOCK_HELD: "duplicate",
        }[self._link.execute(step)]

    def _pause(self, op: dict[str, Any]) -> str:
        self._inspector.queues.pause(QUEUE)
        return "ok"

    def _unpause(self, op: dict[str, Any]) -> str:
        self._inspector.queues.resume(QUEUE)
        return "ok"

    def _update_payload(self, op: dict[str, Any]) -> str:
        self._inspector.tasks.update_payload(QUEUE, op["id"], op["payload"].encode())
        return "ok"

    def _inspect(self, op: dict[str, Any]) -> Any:
        verb, _, rest = op["op"].partition("-all-")
        act = self._inspector.tasks
        if not rest:
            getattr(act, verb)(QUEUE, op["id"])
            return "ok"
        return getattr(act, f"{verb}_all")(QUEUE, TaskState(rest), op.get("group"))


class _Awaitable:
    """A link for code that awaits."""

    one_node = True

    def __init__(self, link: Link) -> None:
        self._link = link

    async def execute(self, op: Op[Any]) -> Any:
        return self._link.execute(op)

    async def execute_many(self, ops: Sequence[Op[Any]]) -> list[Any]:
        return self._link.execute_many(ops)

    async def execute_each(self, ops: Sequence[Op[Any]]) -> list[Any]:
        answers: list[Any] = []
        for op in ops:
            try:
                answers.append(self._link.execute(op))
            except QdError as error:
                answers.append(error)
        return answers


def _fate(fate: Fate) -> str:
    return "ok" if fate is Fate.OK else "not-found"
