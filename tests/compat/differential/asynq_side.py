"""The operations of the alphabet on real asynq, and its answers in the words both sides use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.compat.asynq import AsynqError
from tests.compat.asynq_program import Steps
from tests.compat.differential.store import QUEUE

_WORDS = {
    "duplicate": "duplicate",
    "conflict": "conflict",
    "task-not-found": "not-found",
    "queue-not-found": "not-found",
}
RETRY_DELAY = 60
"""Seconds before a retry, on both sides."""


class AsynqSide:
    """One session of asynqctl on one database. `now` is the present, in Unix seconds."""

    def __init__(self, steps: Steps, now: int) -> None:
        self._steps = steps
        self._now = now
        self._broker("clock", now=now)

    def apply(self, op: dict[str, Any]) -> Any:
        """Carry out one operation."""
        return _attempt(getattr(self, "_" + op["op"].replace("-", "_"), self._inspect), op)

    def _broker(self, call: str, **fields: Any) -> Any:
        return self._steps("broker", call=call, **fields)

    def _enqueue(self, op: dict[str, Any]) -> str:
        options = {
            name: op[name] for name in ("max_retry", "retention", "headers", "group", "unique")
            if op.get(name) is not None
        }  # fmt: skip
        if op.get("delay"):
            options["process_at"] = self._now + op["delay"]
        if op.get("payload") is not None:
            options["payload"] = op["payload"]
        self._steps.enqueue(op["type"], id=op["id"], queue=QUEUE, **options)
        return "ok"

    def _dequeue(self, op: dict[str, Any]) -> list[str]:
        """One after the other, also behind an id whose task is gone."""
        found = []
        for _ in range(op.get("count", 1)):
            try:
                found.append(self._broker("dequeue", queue=QUEUE))
            except AsynqError as error:
                if _word(error) != "not-found":
                    raise
        return found

    def _end(self, op: dict[str, Any]) -> list[str]:
        return [
            _attempt(self._end_one, op["how"], task_id, retention)
            for task_id, retention in op["tasks"].items()
        ]

    def _end_one(self, how: str, task_id: str, retention: int) -> str:
        task = {"queue": QUEUE, "id": task_id}
        match how:
            case "ok":
                self._broker("complete" if retention else "done", **task)
            case "requeue":
                self._broker("requeue", **task)
            case "archive":
                self._broker("archive", **task, error="failed")
            case _:
                failure = how == "retry"
                self._broker("retry", **task, error="failed", delay=RETRY_DELAY, failure=failure)
        return "ok"

    def _result(self, op: dict[str, Any]) -> str:
        self._broker("result", queue=QUEUE, id=op["id"], result=op["result"])
        return "ok"

    def _extend(self, op: dict[str, Any]) -> str:
        self._broker("extend", queue=QUEUE, id=op["id"])
        return "ok"

    def _forward(self, op: dict[str, Any]) -> None:
        self._broker("forward", queue=QUEUE)

    def _janitor(self, op: dict[str, Any]) -> None:
        self._broker("janitor", queue=QUEUE)

    def _recover(self, op: dict[str, Any]) -> None:
        self._broker("recover", queue=QUEUE, delay=RETRY_DELAY)

    def _stage(self, op: dict[str, Any]) -> str:
        limits = {name: op[name] for name in ("grace", "max_wait", "max_size")}
        staged: str = self._broker("stage", queue=QUEUE, group=op["group"], **limits)
        return staged

    def _merge(self, op: dict[str, Any]) -> str:
        self._steps.enqueue("merged", id=op["id"], queue=QUEUE, payload="all")
        self._broker("delete-set", queue=QUEUE, group=op["group"], set=op["set"])
        return "ok"

    def _update_payload(self, op: dict[str, Any]) -> str:
        self._steps.inspect("update-payload", queue=QUEUE, id=op["id"], payload=op["payload"])
        return "ok"

    def _inspect(self, op: dict[str, Any]) -> Any:
        arguments = {name: op[name] for name in ("id", "group") if name in op}
        answer = self._steps.inspect(op["op"], queue=QUEUE, **arguments)
        return "ok" if answer is None else answer


def _attempt(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except AsynqError as error:
        if error.kind == "usage":
            raise
        return _word(error)


def _word(error: AsynqError) -> str:
    if "NOT_FOUND" in str(error) or "NOT FOUND" in str(error):
        return "not-found"
    return _WORDS.get(error.kind, "refused")
