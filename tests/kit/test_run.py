"""`kit.run`: one task, as production runs it, and what a test is told of it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import qd
from qd import App, Context, Task
from qd.errors import DuplicateTask, HandlerNotFound, PayloadError, TaskTimeout
from qd.testing import Kit, KitError


@dataclass
class Order:
    number: int
    placed: datetime


def test_a_task_goes_through_its_queue_and_comes_back_as_the_types_say(app: App, kit: Kit) -> None:
    seen: list[Any] = []

    @app.task("order:ship", queue="high", max_retry=3)
    def ship(order: Order, ctx: Context) -> dict[str, Any]:
        seen.append((order, ctx.queue, ctx.attempt, ctx.max_retry))
        return {"shipped": order.number}

    order = Order(7, datetime(2030, 1, 31, tzinfo=UTC))
    ran = kit.run(ship, order)
    assert seen == [(order, "high", 1, 3)]
    assert seen[0][0] is not order
    assert (ran.ok, ran.outcome, ran.result) == (True, "done", {"shipped": 7})
    assert ran.payload == {"number": 7, "placed": "2030-01-31T00:00:00Z"}
    assert (ran.type, ran.queue, ran.attempt, ran.at) == ("order:ship", "high", 1, kit.now)
    assert kit.tasks() == []


def test_a_synchronous_handler_runs_in_the_thread_of_the_test(app: App, kit: Kit) -> None:
    where = []

    @app.task("a")
    def handler() -> None:
        where.append(threading.get_ident())

    kit.run(handler)
    assert where == [threading.get_ident()]


def test_what_a_handler_raises_is_raised_when_redis_knows(app: App, kit: Kit) -> None:
    @app.task("pay", max_retry=2)
    def pay() -> None:
        raise ConnectionError("no bank")

    with pytest.raises(ConnectionError, match="no bank") as raised:
        kit.run(pay)
    assert "attempt 1: retry in 1 s" in raised.value.__notes__[0]
    (task,) = kit.tasks("pay")
    assert (task.state, task.retried, task.error) == ("retry", 1, "ConnectionError: no bank")
    assert task.next_at == kit.now + timedelta(seconds=1)


def test_an_attempt_reports_what_a_handler_raises(app: App, kit: Kit) -> None:
    @app.task("pay", max_retry=0)
    async def pay() -> None:
        raise ConnectionError("no bank")

    ran = kit.attempt(pay)
    assert (ran.ok, ran.failed, ran.outcome, ran.charged) == (False, True, "archive", False)
    assert isinstance(ran.error, ConnectionError)
    assert [one.error for one in kit.dead] == ["ConnectionError: no bank"]


@pytest.mark.parametrize(
    ("wish", "outcome", "delay", "charged"),
    [
        (qd.Snooze("10s"), "retry", 10, False),
        (qd.RetryAfter("5m"), "retry", 300, True),
        (qd.RevokeTask("not wanted"), "revoke", None, False),
    ],
)
def test_the_wishes_of_a_handler_are_no_errors(
    app: App, kit: Kit, wish: Exception, outcome: str, delay: float | None, charged: bool
) -> None:
    @app.task("poll", max_retry=3)
    def poll() -> None:
        raise wish

    ran = kit.run(poll)
    assert (ran.outcome, ran.delay, ran.charged) == (outcome, delay, charged)
    assert ran.error is wish
    assert ran.next_at == (None if delay is None else kit.now + timedelta(seconds=delay))


def test_a_handler_that_gives_up_has_failed(app: App, kit: Kit) -> None:
    @app.task("mail", max_retry=9)
    def mail() -> None:
        raise qd.SkipRetry("no such address")

    with pytest.raises(qd.SkipRetry, match="no such address"):
        kit.run(mail)
    assert [one.type for one in kit.dead] == ["mail"]


def test_a_payload_that_does_not_fit_is_told_as_in_production(app: App, kit: Kit) -> None:
    @app.task("mail")
    def mail(to: str, copies: int = 1) -> None: ...

    with pytest.raises(PayloadError, match="copies"):
        kit.run("mail", to="ann", copies="many")
    assert [one.payload for one in kit.dead] == [{"to": "ann", "copies": "many"}]


def test_time_limits_are_those_of_the_real_clock(app: App, kit: Kit) -> None:
    @app.task("slow", timeout="1s", max_retry=0)
    def slow() -> None:
        while True:
            time.sleep(0.01)

    began = time.monotonic()
    with pytest.raises(TaskTimeout):
        kit.run(slow)
    assert time.monotonic() - began >= 0.9
    assert [one.error for one in kit.dead] == ["context deadline exceeded"]


def test_middlewares_and_hooks_are_around_it(app: App, kit: Kit) -> None:
    told: list[str] = []

    @app.middleware
    async def loud(ctx: Context, task: Task, call_next: Any) -> Any:
        return (await call_next(ctx, task)) + "!"

    @app.lifespan
    async def open_up() -> Any:
        told.append("open")
        yield {"shop": "open"}
        told.append("closed")

    @app.task("greet")
    def greet(ctx: Context) -> str:
        return f"hello, the shop is {ctx.state['shop']}"

    assert kit.run(greet).result == "hello, the shop is open!"
    assert told == ["open", "closed"]


def test_only_that_task_runs_whatever_else_waits(app: App, kit: Kit) -> None:
    seen: list[int] = []

    @app.task("count")
    def count(number: int) -> None:
        seen.append(number)

    for number in range(3):
        count.enqueue(number)
    kit.run(count, 99)
    assert seen == [99]
    kit.drain()
    assert seen == [99, 0, 1, 2]


def test_what_is_delayed_grouped_or_dead_runs_when_a_test_says_so(app: App, kit: Kit) -> None:
    seen: list[str] = []

    @app.task("say", max_retry=0)
    def say(word: str) -> None:
        seen.append(word)
        if word == "fail" and len(seen) == 1:
            raise ValueError(word)

    kit.attempt(say, "fail")
    kit.run(kit.dead[0])
    kit.run(say.options(process_in="1h"), "later")
    kit.run(say.options(group="words"), "grouped")
    kit.run(app.new_task("say").payload({"word": "built"}))
    kit.run(say.new("new"))
    kit.run(say.options(process_in="1h").enqueue("info"))
    assert seen == ["fail", "fail", "later", "grouped", "built", "new", "info"]
    assert kit.tasks() == []


def test_the_rules_of_an_enqueue_hold(app: App, kit: Kit) -> None:
    @app.task("once", unique="10m")
    def once() -> None: ...

    once.enqueue()
    with pytest.raises(DuplicateTask):
        kit.run(once)


def test_a_type_that_nobody_handles_is_refused_with_the_nearest(app: App, kit: Kit) -> None:
    app.task("email:send")(lambda: None)
    with pytest.raises(KitError, match='no handler for "email:sned"'.replace('"', "'")) as refused:
        kit.run("email:sned")
    assert 'Did you mean "email:send"?' in str(refused.value)


def test_one_of_another_program_fails_as_in_production(app: App, kit: Kit) -> None:
    app.client.enqueue("of:go", max_retry=1)
    (ran,) = kit.drain()
    assert isinstance(ran.error, HandlerNotFound)
    assert ran.outcome == "retry"


def test_a_queue_that_no_worker_serves_is_refused(app: App, kit: Kit) -> None:
    @app.task("a", queue="hihg")
    def handler() -> None: ...

    with pytest.raises(KitError, match="queue 'hihg' is not among high, default, low") as refused:
        kit.run(handler)
    assert 'Did you mean "high"?' in str(refused.value)


def test_a_paused_queue_gives_nothing(app: App, kit: Kit) -> None:
    @app.task("a")
    def handler() -> None: ...

    kit.run(handler)  # so that there is the queue
    app.inspector().queues.pause("default")
    with pytest.raises(KitError, match="'default' is paused"):
        kit.run(handler)
    assert kit.drain() == []
    app.inspector().queues.resume("default")
    assert kit.drain().types == ["a"]


@pytest.mark.qd(config={"queues": {"default": 1}, "queue_prefix": "test_"})
def test_a_prefix_of_queues_is_the_business_of_the_kit(app: App, kit: Kit) -> None:
    @app.task("a")
    def handler() -> None: ...

    assert kit.run(handler).queue == "test_default"
    handler.enqueue()
    kit.assert_enqueued(handler, queue="default")
    assert len(kit.tasks(queue="default")) == 1


@pytest.mark.qd(
    config={"queues": {"default": 1}, "limits": {"one": {"rate": "1/min", "types": ["call"]}}}
)
def test_a_limit_holds_a_task_back_and_the_test_is_told(app: App, kit: Kit) -> None:
    @app.task("call")
    def call() -> None: ...

    assert kit.run(call).outcome == "done"
    held = kit.run(call)
    assert (held.ok, held.outcome, held.result) == (False, "park", None)
    assert kit.tasks("call", state="scheduled")[0].id == held.id


def test_what_was_given_twice_is_refused(app: App, kit: Kit) -> None:
    @app.task("a")
    def handler(x: int) -> None: ...

    for wrong in (
        lambda: kit.run(handler.new(1), 2),
        lambda: kit.run("a", {"x": 1}, x=1),
        lambda: kit.run(handler.enqueue(1), x=1),
        lambda: kit.run(42),  # type: ignore[arg-type]
    ):
        with pytest.raises(qd.QdError):
            wrong()
