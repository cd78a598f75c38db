"""What surrounds a handler: middleware, its context, what the application opened for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from qd import Context, SkipRetry, Task
from qd.handlers.middleware import CallNext
from qd.protocol import keys
from tests.runtime.lab import QUEUE, Lab, soon
from tests.support.wait import aeventually


async def test_the_first_middleware_is_the_outermost(lab: Lab) -> None:
    seen: list[str] = []

    def layer(name: str) -> Any:
        async def middleware(ctx: Context, task: Task, call_next: CallNext) -> Any:
            seen.append(f"{name} in")
            result = await call_next(ctx, task)
            seen.append(f"{name} out {result}")
            return f"{name}({result})"

        return middleware

    lab.app.middleware(layer("a"))
    lab.app.middleware(layer("b"))
    lab.app.register_handler("work", lambda: "x")
    await lab.start()
    task_id, _ = await lab.run("work", retention="1h")
    assert seen == ["a in", "b in", "b out x", "a out b(x)"]
    assert lab.raw.hget(keys.task(QUEUE, task_id), "result") == b'"a(b(x))"'


@pytest.mark.parametrize(
    ("raised", "state", "text"),
    [
        (ValueError("mw"), "retry", "ValueError: mw"),
        (SkipRetry("enough"), "archived", "enough"),
    ],
)
async def test_an_error_of_a_middleware_is_an_error_of_the_task(
    lab: Lab, raised: Exception, state: str, text: str
) -> None:
    ran: list[bool] = []

    @lab.app.middleware
    async def broken(ctx: Context, task: Task, call_next: CallNext) -> Any:
        raise raised

    lab.app.register_handler("work", lambda: ran.append(True))
    await lab.start()
    task_id, got = await lab.run("work")
    assert (got, lab.error(task_id), ran) == (state, text, [])


async def test_a_middleware_sees_the_error_of_the_handler_and_may_replace_it(lab: Lab) -> None:
    @lab.app.middleware
    async def forgiving(ctx: Context, task: Task, call_next: CallNext) -> Any:
        try:
            return await call_next(ctx, task)
        except ValueError as error:
            return f"instead of {error}"

    def work() -> None:
        raise ValueError("v")

    lab.app.register_handler("work", work)
    await lab.start()
    task_id, state = await lab.run("work", retention="1h")
    assert state == "completed"
    assert lab.raw.hget(keys.task(QUEUE, task_id), "result") == b'"instead of v"'


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_middleware_may_call_the_handler_again_or_elsewhere(lab: Lab, kind: str) -> None:
    runs: list[int] = []

    @lab.app.middleware
    async def twice(ctx: Context, task: Task, call_next: CallNext) -> Any:
        await asyncio.wait_for(call_next(ctx, task), 5)
        return await asyncio.create_task(call_next(ctx, task))  # type: ignore[arg-type]

    def work() -> None:
        runs.append(1)

    async def awork() -> None:
        runs.append(1)

    lab.app.register_handler("work", work if kind == "sync" else awork)
    await lab.start()
    assert (await lab.run("work"))[1] == ""
    assert runs == [1, 1]


async def test_a_middleware_runs_also_for_a_type_without_a_handler(lab: Lab) -> None:
    seen: list[str] = []

    @lab.app.middleware
    async def watch(ctx: Context, task: Task, call_next: CallNext) -> Any:
        seen.append(task.type)
        return await call_next(ctx, task)

    await lab.start()
    assert (await lab.run("nobody:knows"))[1] == "retry"
    assert seen == ["nobody:knows"]


async def test_the_context_says_what_is_known_of_the_run(lab: Lab) -> None:
    seen: list[Any] = []

    @lab.app.task("work")
    async def work(ctx: Context, task: Task) -> None:
        seen.append(
            (
                ctx.task_id, ctx.task_type, ctx.queue, ctx.retried, ctx.max_retry, ctx.attempt,
                ctx.is_last_attempt, ctx.last_error, dict(ctx.headers), ctx.cancelled,
                task.id, task.type, task.queue, task.payload, task.json(),
            )
        )  # fmt: skip

    lab.store(
        "t",
        payload=b'{"a": 1}',
        max_retry=2,
        retried=2,
        error="before",
        headers=(("trace", "abc"),),
    )
    await lab.start()
    assert await lab.settled("t") == ""
    assert seen == [
        (
            "t", "work", QUEUE, 2, 2, 3, True, "before", {"trace": "abc"}, False,
            "t", "work", QUEUE, b'{"a": 1}', {"a": 1},
        )
    ]  # fmt: skip


async def test_the_longest_prefix_takes_a_type_and_the_exact_type_wins(lab: Lab) -> None:
    seen: list[str] = []
    for pattern in ("mail:", "mail:bulk:", "mail:bulk:one"):
        lab.app.register_handler(
            pattern, lambda task, pattern=pattern: seen.append(f"{pattern} {task.type}")
        )
    await lab.start()
    for task_type in ("mail:send", "mail:bulk:all", "mail:bulk:one"):
        await lab.run(task_type)
    assert seen == ["mail: mail:send", "mail:bulk: mail:bulk:all", "mail:bulk:one mail:bulk:one"]


async def test_an_object_with_process_task_is_a_handler(lab: Lab) -> None:
    class Sync:
        def __init__(self) -> None:
            self.seen: list[bytes] = []

        async def process_task(self, ctx: Context, task: Task) -> None:
            self.seen.append(task.payload)

    service = Sync()
    lab.app.register_handler("work", service)
    await lab.start()
    assert (await lab.run("work", b"any bytes \xff"))[1] == ""
    assert service.seen == [b"any bytes \xff"]


async def test_a_result_written_by_an_asynchronous_handler_can_be_read_at_once(lab: Lab) -> None:
    written, go = asyncio.Event(), asyncio.Event()

    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        await ctx.write_result({"percent": 40})
        written.set()
        await go.wait()

    await lab.start()
    info = await lab.enqueue("work", retention="1h")
    await soon(written)
    assert lab.raw.hget(keys.task(QUEUE, info.id), "result") == b'{"percent":40}'
    go.set()
    assert await lab.settled(info.id) == "completed"
    # A handler that returns nothing does not take back what it has written.
    assert lab.raw.hget(keys.task(QUEUE, info.id), "result") == b'{"percent":40}'


async def test_a_result_written_by_a_synchronous_handler_can_be_read_at_once(lab: Lab) -> None:
    written, go = threading.Event(), threading.Event()

    @lab.app.task("work")
    def work(ctx: Context) -> str:
        ctx.write_result_now(b"half")
        written.set()
        go.wait(10)
        return "whole"

    await lab.start()
    info = await lab.enqueue("work", retention="1h")
    await aeventually(written.is_set)
    assert lab.raw.hget(keys.task(QUEUE, info.id), "result") == b"half"
    go.set()
    assert await lab.settled(info.id) == "completed"
    assert lab.raw.hget(keys.task(QUEUE, info.id), "result") == b'"whole"'


async def test_the_blocking_form_is_refused_on_the_loop_instead_of_hanging_it(lab: Lab) -> None:
    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        ctx.write_result_now("x")

    await lab.start()
    task_id, state = await lab.run("work")
    assert state == "retry"
    assert "event loop" in lab.error(task_id)


async def test_handlers_share_what_the_lifespan_opened(lab: Lab) -> None:
    events: list[str] = []

    @lab.app.lifespan
    async def resources() -> AsyncIterator[dict[str, Any]]:
        events.append("open")
        yield {"db": "connection"}
        events.append("close")

    @lab.app.on_startup
    def startup() -> None:
        events.append("startup")

    @lab.app.on_startup
    async def startup_too() -> None:
        events.append("startup too")

    @lab.app.on_shutdown
    async def shutdown() -> None:
        events.append("shutdown")

    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        events.append(ctx.state["db"])

    await lab.start()
    await lab.run("work")
    await lab.stop()
    assert events == ["open", "startup", "startup too", "connection", "shutdown", "close"]


async def test_a_startup_that_fails_closes_what_was_opened_and_takes_no_task(lab: Lab) -> None:
    events: list[str] = []

    @lab.app.lifespan
    async def resources() -> AsyncIterator[None]:
        yield
        events.append("close")

    @lab.app.on_startup
    async def startup() -> None:
        raise ConnectionError("no database")

    lab.store("t")
    with pytest.raises(ConnectionError, match="no database"):
        await lab.start()
    assert events == ["close"]
    assert lab.state("t") == "pending"
    assert not lab.raw.exists(keys.SERVERS)


async def test_a_shutdown_hook_that_fails_keeps_neither_the_next_nor_the_lifespan(
    lab: Lab,
) -> None:
    events: list[str] = []

    @lab.app.lifespan
    async def resources() -> AsyncIterator[None]:
        yield
        events.append("close")

    @lab.app.on_shutdown
    async def broken() -> None:
        raise ConnectionError("no database")

    @lab.app.on_shutdown
    def fine() -> None:
        events.append("fine")

    await lab.start()
    await lab.stop()
    assert events == ["fine", "close"]


async def test_lines_of_a_handler_carry_its_task(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        ctx.log.warning("half way")

    await lab.start()
    task_id, _ = await lab.run("work")
    (record,) = [one for one in caplog.records if one.message == "half way"]
    assert (record.__dict__["task_id"], record.__dict__["queue"]) == (task_id, QUEUE)
