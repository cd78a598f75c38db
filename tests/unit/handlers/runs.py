"""A run of a handler without a worker around it."""

from __future__ import annotations

from typing import Any

from qd import jsoncodec
from qd.handlers.context import Context
from qd.handlers.task import Task
from qd.protocol.message import TaskMessage, Terms


def message(payload: bytes = b"", **terms: Any) -> TaskMessage:
    return TaskMessage("email:send", payload, "t1", Terms(**terms))


def context(of: TaskMessage | None = None, written: list[bytes] | None = None) -> Context:
    """A context; results go to `written`."""
    kept: list[bytes] = [] if written is None else written

    async def write(result: bytes) -> None:
        kept.append(result)

    return Context(of or message(), 1_000_000.0, write, kept.append, {"db": "open"})


def given(payload: Any) -> tuple[Context, Task]:
    """What a handler is called with for a payload: bytes as they are, the rest as JSON."""
    raw = payload if isinstance(payload, bytes) else jsoncodec.dumps(payload)
    made = message(raw)
    return context(made), Task(made)
