"""A task that has seen a worker die runs alone, so that nobody else is blamed for the next death."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from qd import Context
from qd.protocol import keys
from qd.runtime import suspects
from tests.runtime.lab import QUEUE, Lab
from tests.support.wait import aeventually


class Recorder:
    """Handlers that run until told to end; `running` holds the ids of those that do."""

    def __init__(self, lab: Lab) -> None:
        self.running: list[str] = []
        self.started: list[str] = []
        self.go: dict[str, asyncio.Event] = {}
        lab.app.register_handler("work", self.work)

    async def work(self, ctx: Context) -> None:
        self.running.append(ctx.task_id)
        self.started.append(ctx.task_id)
        await self.go.setdefault(ctx.task_id, asyncio.Event()).wait()
        self.running.remove(ctx.task_id)

    def end(self, task_id: str) -> None:
        self.go.setdefault(task_id, asyncio.Event()).set()


def suspect(lab: Lab, task_id: str) -> None:
    lab.store(task_id)
    lab.raw.hset(keys.task(QUEUE, task_id), "qd_deaths", 1)


async def test_a_suspect_waits_for_the_others_and_keeps_new_ones_waiting(lab: Lab) -> None:
    seen = Recorder(lab)
    lab.store("a")
    worker = await lab.start()
    await aeventually(lambda: seen.running == ["a"])
    suspect(lab, "bad")
    await aeventually(lambda: worker.busy == 2)
    lab.store("b")
    assert seen.running == ["a"]
    seen.end("a")
    await aeventually(lambda: seen.running == ["bad"])
    assert lab.state("b") == "pending", "nothing is fetched meanwhile"
    seen.end("bad")
    await aeventually(lambda: seen.running == ["b"])
    seen.end("b")
    assert await lab.settled("b") == ""


async def test_tasks_fetched_together_with_a_suspect_start_after_it(lab: Lab) -> None:
    seen = Recorder(lab)
    lab.store("a")
    suspect(lab, "bad")
    suspect(lab, "worse")
    lab.store("b")
    await lab.start()
    await aeventually(lambda: seen.running == ["a"])
    for task_id in ("a", "bad", "worse", "b"):
        await aeventually(lambda task_id=task_id: seen.running == [task_id])
        seen.end(task_id)
    await aeventually(lambda: lab.worker.done == 4)
    assert seen.started == ["a", "bad", "worse", "b"]


async def test_a_suspect_waits_no_longer_than_its_patience(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects, "_WAIT", 0.1)
    seen = Recorder(lab)
    lab.store("long")
    await lab.start()
    await aeventually(lambda: seen.running == ["long"])
    suspect(lab, "bad")
    await aeventually(lambda: seen.running == ["long", "bad"])
    # The same for the next one.
    suspect(lab, "worse")
    seen.end("bad")
    await aeventually(lambda: seen.running == ["long", "worse"])
    seen.end("long")
    seen.end("worse")


async def test_a_suspect_that_runs_long_gets_company_again_at_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects, "_ALONE", 0.3)
    seen = Recorder(lab)
    suspect(lab, "bad")
    await lab.start()
    await aeventually(lambda: seen.running == ["bad"])
    lab.store("a")
    # Within a second, not with the next look at all queues.
    await aeventually(lambda: seen.running == ["bad", "a"], 1)
    seen.end("bad")
    seen.end("a")


async def test_a_suspect_that_is_given_up_does_not_block_the_process(lab: Lab) -> None:
    go = asyncio.Event()

    async def deaf() -> None:
        while not go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await go.wait()

    lab.app.register_handler("deaf", deaf)
    lab.app.register_handler("fine", lambda: None)
    lab.configure(worker={"hard_grace": "100ms"})
    lab.store("bad", task_type="deaf", timeout=1)
    lab.raw.hset(keys.task(QUEUE, "bad"), "qd_deaths", 1)
    lab.store("fine", task_type="fine")
    await lab.start()
    assert await lab.settled("bad") == "retry"
    assert await lab.settled("fine") == ""
    go.set()


async def test_cancelling_a_suspect_that_waits_lets_the_others_go_on(lab: Lab) -> None:
    seen = Recorder(lab)
    lab.store("a")
    suspect(lab, "bad")
    lab.store("b")
    worker = await lab.start()
    await aeventually(lambda: seen.running == ["a"] and worker.busy == 3)
    lab.raw.publish(keys.CANCEL_CHANNEL, "bad")
    await aeventually(lambda: any(run.stop for run in worker._held))
    seen.end("a")
    await aeventually(lambda: seen.running == ["b"])
    assert await lab.settled("bad") == "retry"
    assert lab.error("bad") == "context canceled"
    assert "bad" not in seen.started
    seen.end("b")
