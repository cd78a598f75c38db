"""What one task costs, in counts that are the same on every machine: no time is measured."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import FrameType
from typing import Any, Self

import redis

import qd
from qd.protocol import keys
from tests.runtime.lab import QUEUE, Lab
from tests.support.wait import aeventually

BATCH = 100
"""Slots of the worker, and therefore tasks in each fetch and in each report of endings."""

_PACKAGE = str(Path(qd.__file__).parent)
_OF_THE_TEST = {"get", "info", "config|resetstat"}


class PythonCounter:
    """Counts calls and byte code instructions of qd's own functions in this thread, for so many *tasks*."""

    def __init__(self, tasks: int) -> None:
        self.tasks = tasks
        self.calls = 0
        self.instructions = 0

    def __enter__(self) -> Self:
        sys.settrace(self._on_call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _on_call(self, frame: FrameType, event: str, arg: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_PACKAGE):
            return None
        self.calls += 1
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._on_event

    def _on_event(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "opcode":
            self.instructions += 1
        return self._on_event


class RedisCounter:
    """Counts calls of scripts and other commands, those inside of scripts included."""

    def __init__(self, raw: redis.Redis) -> None:
        self._raw: Any = raw
        self.scripts = 0
        self.commands = 0

    def __enter__(self) -> Self:
        self._raw.config_resetstat()
        return self

    def __exit__(self, *_: object) -> None:
        for name, one in self._raw.info("commandstats").items():
            command = name.removeprefix("cmdstat_")
            if command in ("eval", "evalsha"):
                self.scripts += one["calls"]
            elif command not in _OF_THE_TEST:
                self.commands += one["calls"]


class Drain:
    """
    A worker in this loop and a queue that it drains in batches of `BATCH`, no more and no less.

    All handlers of a batch wait for its last one and end in one turn of the loop, so that neither
    the speed of the machine nor that of Redis decides what goes into which call.
    """

    def __init__(self, lab: Lab, raw: redis.Redis, *, fails: bool = False) -> None:
        self._lab = lab
        self._raw: Any = raw
        self._fails = fails
        self._stored = 0
        self._started = 0
        self._all_there = asyncio.Event()
        lab.configure(worker={"concurrency": BATCH})
        lab.app.task("work")(self._work)

    async def _work(self, x: int) -> None:
        self._started += 1
        gate = self._all_there
        if self._started % BATCH:
            await gate.wait()
        else:
            self._all_there = asyncio.Event()
            gate.set()
            # As the others: this one ends in the next turn, too.
            await asyncio.sleep(0)
        if self._fails:
            raise OSError("no answer")

    async def start(self) -> None:
        await self._lab.start()
        await aeventually(lambda: self._lab.worker.drained)
        # What is made once, slots and caches, belongs to no task.
        self.prepare(2 * BATCH)
        await self.run()

    def prepare(self, count: int) -> None:
        """Store tasks in a queue that is paused meanwhile."""
        self._raw.set(keys.paused(QUEUE), 1)
        for n in range(self._stored, self._stored + count):
            self._lab.store(f"task-{n:08}", payload=b'{"x":1}')
        self._stored += count

    async def run(self) -> None:
        """Drain what was prepared, until the worker has nothing left to say about it."""
        self._raw.delete(keys.paused(QUEUE))
        await aeventually(self._is_settled, 50)

    def _is_settled(self) -> bool:
        if int(self._raw.get(keys.processed(QUEUE)) or 0) < self._stored:
            return False
        return self._lab.worker.drained
