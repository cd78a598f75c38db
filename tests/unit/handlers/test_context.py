"""What a handler sees of its task and its run."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from qd.errors import PayloadError
from qd.handlers.context import Context
from qd.handlers.middleware import CallNext, compose
from qd.handlers.task import Task
from tests.unit.handlers.runs import context, given, message


def test_a_task_shows_what_was_enqueued() -> None:
    task = Task(message(b'{"a":[1]}', queue="low", headers=(("k", "v"),)))
    assert (task.id, task.type, task.queue, task.payload) == (
        "t1",
        "email:send",
        "low",
        b'{"a":[1]}',
    )
    assert task.headers == {"k": "v"}
    assert task.json() == {"a": [1]}
    assert repr(task) == "Task(type='email:send', id='t1', payload=9 bytes)"


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff"])
def test_a_payload_that_is_not_json_says_so(payload: bytes) -> None:
    with pytest.raises(PayloadError, match="payload of email:send is not JSON"):
        Task(message(payload)).json()


def test_a_run_knows_its_attempt() -> None:
    first = context(message(max_retry=2))
    assert (first.attempt, first.retried, first.is_last_attempt) == (1, 0, False)
    last = context(message(max_retry=2, retried=2, error="boom"))
    assert (last.attempt, last.is_last_attempt, last.last_error) == (3, True, "boom")
    assert context(message(max_retry=0)).is_last_attempt
    assert first.deadline == datetime.fromtimestamp(1_000_000, UTC)
    assert first.state == {"db": "open"}


def test_log_lines_name_the_task(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="qd.task"):
        context(message(queue="low")).log.info("hello")
    (record,) = caplog.records
    assert (record.task_id, record.task_type, record.queue) == ("t1", "email:send", "low")  # type: ignore[attr-defined]


@dataclass
class Result:
    total: int


async def test_results_are_bytes_as_they_are_and_anything_else_as_json() -> None:
    written: list[bytes] = []
    ctx = context(written=written)
    await ctx.write_result(b"\x00")
    await ctx.write_result({"a": 1})
    ctx.write_result_now(Result(3))
    ctx.write_result_now("text")
    ctx.write_result_now(None)
    assert written == [b"\x00", b'{"a":1}', b'{"total":3}', b'"text"', b"null"]


async def test_the_first_middleware_is_the_outermost() -> None:
    seen: list[str] = []

    def named(name: str):  # type: ignore[no-untyped-def]
        async def middleware(ctx: Context, task: Task, call_next: CallNext) -> str:
            seen.append(f"{name} in")
            answer = await call_next(ctx, task)
            seen.append(f"{name} out")
            return f"{name}({answer})"

        return middleware

    async def innermost(ctx: Context, task: Task) -> str:
        seen.append(task.type)
        return ctx.task_id

    call = compose([named("a"), named("b")], innermost)
    assert await call(*given(b"")) == "a(b(t1))"
    assert seen == ["a in", "b in", "email:send", "b out", "a out"]
    assert await compose([], innermost)(*given(b"")) == "t1"


async def test_a_middleware_may_answer_raise_or_change_the_call() -> None:
    async def answer(ctx: Context, task: Task, call_next: CallNext) -> str:
        return "instead"

    async def refuse(ctx: Context, task: Task, call_next: CallNext) -> None:
        raise ValueError("refused")

    async def swap(ctx: Context, task: Task, call_next: CallNext) -> object:
        return await call_next(ctx, Task(message(b"other")))

    async def innermost(ctx: Context, task: Task) -> bytes:
        return task.payload

    assert await compose([answer], innermost)(*given(b"x")) == "instead"
    with pytest.raises(ValueError, match="refused"):
        await compose([refuse], innermost)(*given(b"x"))
    assert await compose([swap], innermost)(*given(b"x")) == b"other"
