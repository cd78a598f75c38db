"""A run of a handler without a worker around it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from qd import jsoncodec
from qd.errors import BrokerUnavailable
from qd.handlers.context import Context
from qd.handlers.task import Task
from qd.protocol.message import TaskMessage, Terms
from qd.protocol.op import Op

T = TypeVar("T")


def message(payload: bytes = b"", **terms: Any) -> TaskMessage:
    return TaskMessage("email:send", payload, "t1", Terms(**terms))


class NoWorker:
    """Keeps results; there is no Redis."""

    queue_prefix = ""
    once_keep = 1.0

    def __init__(self, kept: list[bytes]) -> None:
        self._kept = kept

    async def execute(self, op: Op[T]) -> T:
        raise BrokerUnavailable("no Redis")

    def blocking(self, work: Coroutine[Any, Any, T], instead: str) -> T:
        try:
            work.send(None)
        except StopIteration as ended:
            return ended.value  # type: ignore[no-any-return]
        raise AssertionError("nothing here waits")

    async def write_result(self, context: Context, result: bytes) -> None:
        self._kept.append(result)

    def progressed(self, context: Context) -> None:
        raise AssertionError("nobody asks for progress here")


def context(of: TaskMessage | None = None, written: list[bytes] | None = None) -> Context:
    """A context; results go to `written`."""
    kept: list[bytes] = [] if written is None else written

    return Context(of or message(), 1_000_000.0, NoWorker(kept), {"db": "open"})


def given(payload: Any) -> tuple[Context, Task]:
    """What a handler is called with for a payload: bytes as they are, the rest as JSON."""
    raw = payload if isinstance(payload, bytes) else jsoncodec.dumps(payload)
    made = message(raw)
    return context(made), Task(made)
