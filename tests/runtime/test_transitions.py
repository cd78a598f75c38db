"""Hooks for transitions hear what this worker has moved, after Redis has confirmed it."""

from __future__ import annotations

import asyncio

import pytest

from qd import RevokeTask, SkipRetry, Snooze, TaskMoved
from tests.runtime.lab import QUEUE, Lab, soon
from tests.support.wait import aeventually


@pytest.fixture
def told(lab: Lab) -> list[TaskMoved]:
    """What a hook was told, in order."""
    found: list[TaskMoved] = []
    lab.app.on_transition(found.append)

    @lab.app.task("work")
    async def work(how: str = "") -> None:
        match how:
            case "fails":
                raise ValueError("v")
            case "dies":
                raise SkipRetry("s")
            case "snoozes":
                raise Snooze("1h")
            case "revoked":
                raise RevokeTask("no")

    return found


async def ends(lab: Lab, told: list[TaskMoved], task_id: str) -> TaskMoved:
    def last() -> list[TaskMoved]:
        return [one for one in told if one.task_id == task_id and one.before == "active"]

    await aeventually(last)
    return last()[-1]


@pytest.mark.parametrize(
    ("how", "after", "reason"),
    [
        ("succeeds", None, ""),
        ("revoked", None, "revoked"),
        ("fails", "retry", "ValueError: v"),
        ("snoozes", "retry", ""),
        ("dies", "archived", "s"),
    ],
)
async def test_a_hook_hears_of_begin_and_end(
    lab: Lab, told: list[TaskMoved], how: str, after: str | None, reason: str
) -> None:
    await lab.start()
    info = await lab.enqueue("work", {"how": how}, headers={"traceparent": "x"})
    end = await ends(lab, told, info.id)
    assert (end.after, end.attempt, end.type, end.queue) == (after, 1, "work", QUEUE)
    assert reason in end.reason
    assert (end.next_at is not None) == (after == "retry")
    assert end.headers == {"traceparent": "x"}
    assert [(one.before, one.after) for one in told] == [("pending", "active"), ("active", after)]
    assert (lab.state(info.id) or None) == after


async def test_a_completed_task_and_one_that_nobody_can_read(
    lab: Lab, told: list[TaskMoved]
) -> None:
    await lab.start()
    info = await lab.enqueue("work", retention="1h")
    assert (await ends(lab, told, info.id)).after == "completed"
    lab.store("odd", message=b"\xff")
    assert (await ends(lab, told, "odd")).after == "archived"


async def test_what_is_put_back_is_pending_again(lab: Lab, told: list[TaskMoved]) -> None:
    started = asyncio.Event()

    @lab.app.task("waits")
    async def waits() -> None:
        started.set()
        await asyncio.Event().wait()

    await lab.start()
    info = await lab.enqueue("waits")
    await soon(started)
    await lab.stop(0)
    assert (await ends(lab, told, info.id)).after == "pending"


async def test_a_hook_that_raises_changes_nothing_and_the_next_one_hears(lab: Lab) -> None:
    found: list[TaskMoved] = []

    @lab.app.on_transition
    def broken(moved: TaskMoved) -> None:
        raise SystemExit(1)

    lab.app.on_transition(found.append)

    @lab.app.task("work")
    async def work() -> None:
        pass

    await lab.start()
    _, state = await lab.run("work")
    assert state == ""
    await aeventually(lambda: len(found) == 2)


async def test_what_another_worker_has_by_now_is_not_told(lab: Lab, told: list[TaskMoved]) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    @lab.app.task("waits")
    async def waits() -> None:
        started.set()
        await go.wait()

    await lab.start()
    info = await lab.enqueue("waits")
    await soon(started)
    lab.raw.hset(f"asynq:{{{QUEUE}}}:t:{info.id}", "qd_owner", "another")
    go.set()
    await aeventually(lambda: lab.worker.drained)
    assert [one.after for one in told] == ["active"]
