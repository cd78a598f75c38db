"""Circuit breakers in a worker: an open one holds up its own tasks, which lose nothing by it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from qd.errors import (
    HandlerNotFound,
    LeaseLost,
    PayloadError,
    RetryAfter,
    RevokeTask,
    SkipRetry,
    Snooze,
    TaskCancelled,
    TaskTimeout,
)
from qd.policy.breaker import went_well
from qd.protocol import keys
from qd.runtime.breaker_gate import BreakerChange
from tests.runtime.lab import Lab
from tests.support.wait import aeventually


class Service:
    """What the handler `sms` needs; says how often it was called."""

    def __init__(self) -> None:
        self.works = False
        self.calls: list[str] = []
        self.hold: asyncio.Event | None = None


@pytest.fixture
def service(lab: Lab) -> Service:
    service = Service()

    @lab.app.task("sms")
    async def sms(channel: str = "") -> None:
        service.calls.append(channel)
        if service.hold is not None:
            await service.hold.wait()
        if not service.works:
            raise ConnectionError("no answer")

    @lab.app.task("mail")
    async def mail() -> None: ...

    return service


def breaker(**settings: Any) -> dict[str, Any]:
    return {"breakers": {"sms": {"types": ["sms"], **settings}}}


def key_of_state(key: str = "") -> str:
    return f"{keys.breaker_prefix('sms')}b:{key}"


async def break_it(lab: Lab, channel: str = "") -> None:
    for _ in range(5):
        await lab.enqueue("sms", {"channel": channel}, max_retry=0)
    await aeventually(lambda: lab.raw.hget(key_of_state(channel), "state") == b"open")


def be_half_open(lab: Lab) -> None:
    """As if the time were over, for the breaker and the tasks that wait."""
    lab.raw.hset(key_of_state(), "until", 1)
    for task_id in lab.raw.zrange(keys.scheduled("q"), 0, 2):
        lab.raw.zrem(keys.scheduled("q"), task_id)
        lab.raw.hset(keys.task("q", task_id.decode()), "state", "pending")
        lab.raw.lpush(keys.pending("q"), task_id)


async def test_tasks_of_an_open_breaker_wait_and_others_run(lab: Lab, service: Service) -> None:
    lab.configure(**breaker(open="1h"))
    await lab.start()
    await break_it(lab)
    waiting = [(await lab.enqueue("sms")).id for _ in range(20)]
    assert (await lab.run("mail"))[1] == ""
    await aeventually(lambda: lab.raw.zcard(keys.scheduled("q")) == 20)
    assert len(service.calls) == 5
    assert {lab.message(one).terms.retried for one in waiting} == {0}
    assert lab.raw.hget(keys.task("q", waiting[0]), "qd_waits") == b'["breaker","sms",""]'
    assert lab.raw.llen(keys.active("q")) == 0


async def test_three_try_and_two_successes_let_all_run(lab: Lab, service: Service) -> None:
    lab.configure(**breaker(open="1h"))
    heard: list[BreakerChange] = []
    lab.app.on_breaker(heard.append)
    await lab.start()
    await break_it(lab)
    waiting = [(await lab.enqueue("sms", {"channel": ""})).id for _ in range(300)]
    await aeventually(lambda: lab.raw.zcard(keys.scheduled("q")) == 300)
    service.calls.clear()
    service.hold = asyncio.Event()
    be_half_open(lab)
    await aeventually(lambda: len(service.calls) == 3)
    newcomer = await lab.enqueue("sms")
    assert await lab.settled(newcomer.id) == "scheduled"
    assert len(service.calls) == 3
    service.works = True
    service.hold.set()
    await aeventually(lambda: len(service.calls) == len(waiting) + 1, 30)
    await aeventually(lambda: len(lab.raw.keys("asynq:{q}:t:*")) == 5)
    assert [one.state for one in heard] == ["open", "half-open", "closed"]
    await aeventually(lambda: not lab.raw.keys("qd:{breaker:sms}:[bt]*"))


async def test_a_try_that_fails_opens_it_again_for_all(lab: Lab, service: Service) -> None:
    lab.configure(**breaker(open="1h"))
    await lab.start()
    await break_it(lab)
    for _ in range(6):
        await lab.enqueue("sms", max_retry=0)
    await aeventually(lambda: lab.raw.zcard(keys.scheduled("q")) == 6)
    be_half_open(lab)
    await aeventually(lambda: len(service.calls) >= 6)
    await aeventually(lambda: lab.raw.hget(key_of_state(), "state") == b"open")
    assert len(service.calls) <= 8
    assert lab.raw.zcard(keys.scheduled("q")) >= 3


async def test_a_breaker_by_key_holds_up_one_channel(lab: Lab, service: Service) -> None:
    lab.configure(**breaker(open="1h", key="payload.channel"))
    await lab.start()
    await break_it(lab, "voda")
    assert (await lab.run("sms", {"channel": "voda"}))[1] == "scheduled"
    service.works = True
    assert (await lab.run("sms", {"channel": "tele"}))[1] == ""


async def test_the_clock_makes_it_half_open(lab: Lab, service: Service) -> None:
    """A new task is the try where nobody waits."""
    lab.configure(**breaker(open="1s", successes=1))
    await lab.start()
    await break_it(lab)
    service.works = True
    await aeventually(lambda: lab.raw.hget(key_of_state(), "until") is not None)

    async def ran() -> bool:
        return (await lab.run("sms"))[1] == ""

    await aeventually(ran, 10)
    assert not lab.raw.exists(key_of_state())


async def test_what_the_application_does_not_count_as_a_failure_opens_nothing(
    lab: Lab, service: Service
) -> None:
    lab.app.is_failure(lambda error: not isinstance(error, ConnectionError))
    lab.configure(**breaker(failures=1), retry={"policy": "fixed", "initial": "1h"})
    await lab.start()
    for _ in range(3):
        assert (await lab.run("sms"))[1] == "retry"
    assert len(service.calls) == 3


@pytest.mark.parametrize(
    "error",
    [
        SkipRetry(), RevokeTask(), RetryAfter(1), Snooze(1), PayloadError("x"), HandlerNotFound("x"),
        TaskCancelled(), LeaseLost(),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_directives_and_what_is_wrong_with_a_task_say_nothing_of_the_service(
    error: BaseException,
) -> None:
    assert went_well(error, None) is None


def test_other_errors_are_failures_and_a_broken_callback_changes_nothing() -> None:
    def broken(_error: BaseException) -> bool:
        raise RuntimeError

    assert went_well(None, None) is True
    assert went_well(TaskTimeout(), None) is False
    assert went_well(ValueError(), broken) is False
