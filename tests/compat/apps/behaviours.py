"""
Handlers that do what asynqctl's do: the first segment of the task's type says what happens.

ok, fail, nofail (an error that does not count), skip, revoke, sleep:200ms, result (the payload is
the result), echo (the result is JSON of all the handler saw), awkward (an error whose text no
message could hold as it is), hold (runs until a file named after the task appears in `gates`).

Each start and end appends a line to the journal, in the format of `asynqctl work --log`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from pathlib import Path
from typing import Any

import qd

AWKWARD_TEXT = "bad \ud800 text, a \x00 and\na new line, " + "x" * 1_000_000


class Failed(Exception):
    """A handler failed as it was told to."""


class NotCounted(Exception):
    """A failure that `is_failure` does not count."""


class Handlers:
    """An object with `process_task`, as services register them. *folder* has journal and gates."""

    def __init__(self, folder: Path) -> None:
        self.journal = folder / "journal"
        self.gates = folder / "gates"
        self.gates.mkdir(parents=True, exist_ok=True)

    async def process_task(self, ctx: qd.Context, task: qd.Task) -> Any:
        seen = seen_by(ctx, task)
        self._write("start", seen, {})
        try:
            result = await self._behave(ctx, task, seen)
        except BaseException as error:
            self._write("end", seen, {"error": str(error)[:100], "panicked": False})
            raise
        self._write("end", seen, {"error": None, "panicked": False})
        return result

    async def _behave(self, ctx: qd.Context, task: qd.Task, seen: dict[str, Any]) -> Any:
        name, _, argument = task.type.partition(":")
        text = task.payload.decode("utf-8", "replace") or "failed"
        match name:
            case "fail":
                raise Failed(text)
            case "nofail":
                raise NotCounted(text)
            case "skip":
                raise qd.SkipRetry(text)
            case "revoke":
                raise qd.RevokeTask(text)
            case "awkward":
                raise Failed(AWKWARD_TEXT)
            case "sleep":
                await asyncio.sleep(float(argument.removesuffix("ms")) / 1000)
            case "hold":
                await self._until_released(ctx.task_id)
            case "result":
                return task.payload
            case "echo":
                return seen
        return None

    async def _until_released(self, task_id: str) -> None:
        while not (self.gates / task_id).exists():
            await asyncio.sleep(0.01)

    def _write(self, event: str, seen: dict[str, Any], more: dict[str, Any]) -> None:
        line = json.dumps({"event": event, "time": time.time(), **seen, **more}) + "\n"
        # One write to a file opened for appending: several programs share the journal.
        fd = os.open(self.journal, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o644)
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)


BEHAVIOURS = (
    "ok", "fail", "nofail", "skip", "revoke", "awkward", "sleep", "hold", "result", "echo",
)  # fmt: skip


def install(app: qd.App, folder: Path) -> None:
    """Register all behaviours as handlers of *app*, and what merges groups."""
    handlers = Handlers(folder)
    for name in BEHAVIOURS:
        app.register_handler(name, handlers)
    app.is_failure(lambda error: not isinstance(error, NotCounted))

    @app.aggregator("stuck")
    async def never(group: str, tasks: list[qd.Task]) -> None:
        await asyncio.Event().wait()

    @app.aggregator("*")
    def join(group: str, tasks: list[qd.Task]) -> tuple[str, bytes]:
        """As asynqctl joins them."""
        return "ok:merged", b"\n".join(task.payload for task in tasks)


def seen_by(ctx: qd.Context, task: qd.Task) -> dict[str, Any]:
    """All that qd tells a handler about its task, named as asynqctl names it."""
    return {
        "id": ctx.task_id,
        "queue": ctx.queue,
        "retried": ctx.retried,
        "max_retry": ctx.max_retry,
        "deadline": ctx.deadline_at,
        "pid": os.getpid(),
        "type": task.type,
        "payload_b64": base64.b64encode(task.payload).decode(),
        "headers": dict(task.headers),
    }
