"""Synchronous handlers and their threads: short ones share one, long ones never hold up others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import pytest

from qd.protocol.message import TaskMessage, Terms
from qd.protocol.ops.endings import Held
from qd.runtime.run import Run
from qd.runtime.threads import Threads


class Crew:
    """Threads, and the names of those that ran something."""

    def __init__(self, count: int) -> None:
        self.threads = Threads(count)
        self.names: list[str] = []

    async def run(self, kind: str, function: Callable[[], Any]) -> Any:
        def noted() -> Any:
            self.names.append(threading.current_thread().name)
            return function()

        return await self.threads.call(kind, _run(), noted)

    async def run_many(self, kind: str, function: Callable[[], Any], count: int) -> list[Any]:
        return await asyncio.gather(*(self.run(kind, function) for _ in range(count)))

    async def learn(self, kind: str) -> None:
        """Let the kind be known as short, which takes some runs even if the machine is busy."""
        for _ in range(2000):
            self.names.clear()
            await self.run_many(kind, _nothing, 20)
            if len(set(self.names)) == 1:
                return
        raise AssertionError("handlers that do nothing never shared a thread")


@pytest.fixture
async def crew() -> Iterator[Crew]:
    crew = Crew(20)
    yield crew
    crew.threads.close()


async def within(work: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(work, 30)


def _nothing() -> None:
    pass


def _run() -> Run:
    return Run(TaskMessage("work", b"", "id", Terms()), "default", Held("id", 0, 0), 0)


async def test_long_handlers_run_beside_each_other(crew: Crew) -> None:
    together = threading.Barrier(20)
    await within(crew.run_many("long", lambda: together.wait(10), 20))
    assert len(set(crew.names)) == 20


async def test_handlers_that_are_done_at_once_share_a_thread(crew: Crew) -> None:
    await within(crew.learn("short"))
    assert len(crew.names) == 20


async def test_who_stands_behind_a_long_one_gets_another_thread(crew: Crew) -> None:
    await within(crew.learn("short"))
    go = threading.Event()
    stuck = asyncio.ensure_future(crew.run("short", lambda: go.wait(30)))
    # They end while the first one, in whose portion they were, does not.
    await within(crew.run_many("short", _nothing, 10))
    assert not stuck.done()
    go.set()
    assert await within(stuck) is True


async def test_a_kind_that_has_become_long_has_threads_of_its_own(crew: Crew) -> None:
    await within(crew.learn("short"))
    pause = threading.Event()
    for _ in range(20):
        await crew.run("short", lambda: pause.wait(0.001))
    together = threading.Barrier(20)
    await within(crew.run_many("short", lambda: together.wait(10), 20))


async def test_threads_that_shared_are_free_again(crew: Crew) -> None:
    for _ in range(5):
        await within(crew.learn("short"))
        await within(crew.run_many("long", partial(threading.Barrier(20).wait, 10), 20))


async def test_an_error_is_that_of_its_own_handler_alone(crew: Crew) -> None:
    await within(crew.learn("short"))

    def fail() -> None:
        raise ValueError("mine")

    ended = await within(
        asyncio.gather(
            crew.run("short", _nothing),
            crew.run("short", fail),
            crew.run("short", lambda: 7),
            return_exceptions=True,
        )
    )
    assert (ended[0], ended[2]) == (None, 7)
    assert isinstance(ended[1], ValueError)
