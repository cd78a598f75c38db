"""How a run ends is how the task stands in Redis afterwards."""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from qd import Context, RetryAfter, RevokeTask, SkipRetry, Snooze, Task
from qd.errors import QdError
from qd.protocol import keys
from tests.runtime.lab import QUEUE, Lab, soon
from tests.support.wait import aeventually

TODAY = f"{datetime.now(UTC):%Y-%m-%d}"


async def test_a_task_that_succeeds_is_gone_and_counted(lab: Lab) -> None:
    seen: list[int] = []

    @lab.app.task("work")
    async def work(n: int) -> None:
        seen.append(n)

    await lab.start()
    _, state = await lab.run("work", {"n": 3})
    assert (seen, state) == ([3], "")
    assert lab.raw.get(keys.processed(QUEUE)) == b"1"
    assert not lab.raw.exists(keys.failed(QUEUE), keys.active(QUEUE), keys.lease(QUEUE))


async def test_a_synchronous_handler_succeeds_as_well(lab: Lab) -> None:
    seen: list[int] = []

    @lab.app.task("work")
    def work(n: int) -> None:
        seen.append(n)

    await lab.start()
    assert (await lab.run("work", {"n": 3}))[1] == ""
    assert seen == [3]


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_failure_is_retried_after_the_delay_with_its_error(lab: Lab, kind: str) -> None:
    def fail() -> None:
        raise ValueError("no such address")

    async def afail() -> None:
        fail()

    lab.configure(retry={"initial": "40s"})
    lab.app.register_handler("work", fail if kind == "sync" else afail)
    await lab.start()
    before = int(time.time())
    task_id, state = await lab.run("work")
    assert state == "retry"
    at = lab.raw.zscore(keys.retry(QUEUE), task_id)
    assert before + 40 <= at <= time.time() + 41
    terms = lab.message(task_id).terms
    assert (terms.error, terms.retried) == ("ValueError: no such address", 1)
    assert before <= terms.last_failed_at <= time.time()
    assert lab.raw.get(keys.failed(QUEUE)) == lab.raw.get(keys.processed(QUEUE)) == b"1"
    assert not lab.raw.exists(keys.active(QUEUE), keys.lease(QUEUE))


async def test_a_task_without_retries_left_is_archived(lab: Lab) -> None:
    @lab.app.task("work")
    async def work() -> None:
        raise ValueError("again")

    lab.store("t", max_retry=2, retried=2)
    await lab.start()
    assert await lab.settled("t") == "archived"
    terms = lab.message("t").terms
    assert (terms.error, terms.retried) == ("ValueError: again", 2)
    assert lab.raw.zscore(keys.archived(QUEUE), "t") == pytest.approx(time.time(), abs=5)


async def test_skip_retry_archives_at_once(lab: Lab) -> None:
    @lab.app.task("work")
    async def work() -> None:
        raise SkipRetry("hopeless")

    await lab.start()
    task_id, state = await lab.run("work")
    assert (state, lab.error(task_id)) == ("archived", "hopeless")


async def test_revoke_forgets_the_task_even_with_retention(lab: Lab) -> None:
    @lab.app.task("work", retention="1h")
    async def work() -> None:
        raise RevokeTask

    await lab.start()
    _, state = await lab.run("work", unique="1h")
    assert state == ""
    assert lab.raw.get(keys.processed(QUEUE)) == b"1"
    assert not lab.raw.exists(keys.failed(QUEUE))
    assert not lab.raw.keys("*unique*")


async def test_retry_after_sets_the_delay_and_uses_up_a_retry(lab: Lab) -> None:
    @lab.app.task("work")
    def work() -> None:
        raise RetryAfter("5m", "rate limited")

    await lab.start()
    task_id, state = await lab.run("work")
    assert state == "retry"
    assert lab.raw.zscore(keys.retry(QUEUE), task_id) == pytest.approx(time.time() + 300, abs=5)
    terms = lab.message(task_id).terms
    assert (terms.retried, terms.error) == (1, "rate limited")


async def test_snooze_uses_up_no_retry_even_when_none_is_left(lab: Lab) -> None:
    @lab.app.task("work")
    async def work() -> None:
        raise Snooze(60)

    lab.store("t", max_retry=0)
    await lab.start()
    assert await lab.settled("t") == "retry"
    assert lab.message("t").terms.retried == 0
    assert lab.raw.zscore(keys.retry(QUEUE), "t") == pytest.approx(time.time() + 60, abs=5)
    assert not lab.raw.exists(keys.failed(QUEUE))


async def test_a_task_without_a_handler_is_retried_with_the_text_of_asynq(lab: Lab) -> None:
    await lab.start()
    task_id, state = await lab.run("nobody:knows")
    assert state == "retry"
    assert lab.error(task_id) == 'handler not found for task "nobody:knows"'


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"not json", "JSON"),
        (b'{"n": "three"}', "n"),
        (b"{}", "n"),
        (b"\xff\xfe", "payload"),
    ],
)
async def test_a_payload_that_does_not_fit_is_archived_at_once(
    lab: Lab, payload: bytes, says: str
) -> None:
    @lab.app.task("work")
    async def work(n: int) -> None:
        raise AssertionError("must not run")

    await lab.start()
    task_id, state = await lab.run("work", payload)
    assert state == "archived"
    assert "payload does not fit work" in lab.error(task_id)
    assert says in lab.error(task_id)


async def test_the_error_of_a_wrong_payload_names_field_and_type(lab: Lab) -> None:
    @lab.app.task("work")
    def work(count: int) -> None:
        raise AssertionError("must not run")

    await lab.start()
    task_id, _ = await lab.run("work", {"count": "three"})
    error = lab.error(task_id)
    assert "count" in error
    assert "int" in error
    assert "str" in error


async def test_a_task_that_cannot_be_decoded_is_archived_by_id_with_its_bytes(lab: Lab) -> None:
    done = asyncio.Event()

    @lab.app.task("work")
    async def work() -> None:
        done.set()

    lab.store("broken", message=b"\xff\xff\xffgarbage")
    lab.store("fine")
    await lab.start()
    assert await lab.settled("broken") == "archived"
    assert await lab.settled("fine") == ""
    assert done.is_set()
    assert lab.raw.hget(keys.task(QUEUE, "broken"), "msg") == b"\xff\xff\xffgarbage"
    assert lab.raw.zscore(keys.archived(QUEUE), "broken")
    assert not lab.raw.exists(keys.active(QUEUE), keys.lease(QUEUE))


async def test_an_id_that_is_no_text_does_not_stop_the_worker(lab: Lab) -> None:
    @lab.app.task("work")
    async def work() -> None:
        pass

    lab.store("fine")
    lab.raw.rpush(keys.pending(QUEUE), b"\xff\xfe")
    lab.raw.hset(keys.task_prefix(QUEUE).encode() + b"\xff\xfe", "msg", b"x")
    await lab.start()
    assert await lab.settled("fine") == ""


@pytest.mark.parametrize(
    ("result", "stored"),
    [({"sum": 3}, b'{"sum":3}'), ("text", b'"text"'), (b"\x00raw", b"\x00raw"), (None, None)],
)
async def test_a_result_is_kept_as_long_as_the_retention_says(
    lab: Lab, result: Any, stored: bytes | None
) -> None:
    @lab.app.task("work", retention="1h")
    async def work() -> Any:
        return result

    await lab.start()
    task_id, state = await lab.run("work")
    assert state == "completed"
    assert lab.raw.hget(keys.task(QUEUE, task_id), "result") == stored
    assert lab.raw.zscore(keys.completed(QUEUE), task_id) == pytest.approx(
        time.time() + 3600, abs=5
    )
    assert lab.message(task_id).terms.completed_at == pytest.approx(time.time(), abs=5)


async def test_a_result_without_retention_is_dropped_whatever_it_is(lab: Lab) -> None:
    @lab.app.task("work")
    async def work() -> Any:
        return object()

    await lab.start()
    assert (await lab.run("work"))[1] == ""


class Recursive:
    def __init__(self) -> None:
        self.model_dump = lambda mode: self


@pytest.mark.parametrize(
    "result",
    [object(), "\ud800", {1: {2}, "deep": [object()]}, Recursive()],
    ids=["no JSON form", "no UTF-8", "inside", "endless"],
)
async def test_a_result_that_cannot_be_stored_fails_the_run(lab: Lab, result: Any) -> None:
    @lab.app.task("work", retention="1h")
    async def work() -> Any:
        return result

    await lab.start()
    task_id, state = await lab.run("work")
    assert state == "retry"
    assert lab.error(task_id)


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize(
    "leaving", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("base")]
)
async def test_a_handler_that_wants_to_leave_has_failed(
    lab: Lab, kind: str, leaving: BaseException
) -> None:
    def work() -> None:
        raise leaving

    async def awork() -> None:
        raise leaving

    lab.app.register_handler("work", work if kind == "sync" else awork)
    lab.app.register_handler("fine", lambda: None)
    await lab.start()
    task_id, state = await lab.run("work")
    assert state == "retry"
    assert type(leaving).__name__ in lab.error(task_id)
    assert (await lab.run("fine"))[1] == ""


async def test_sys_exit_with_its_code_is_told(lab: Lab) -> None:
    @lab.app.task("work")
    def work() -> None:
        sys.exit(7)

    await lab.start()
    task_id, _ = await lab.run("work")
    assert lab.error(task_id) == "RuntimeError: handler raised SystemExit(7)"


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_stop_iteration_is_an_error_like_any_other(lab: Lab, kind: str) -> None:
    def work() -> None:
        next(iter([]))

    async def awork() -> None:
        work()

    lab.app.register_handler("work", work if kind == "sync" else awork)
    await lab.start()
    task_id, state = await lab.run("work")
    assert state == "retry"
    assert "StopIteration" in lab.error(task_id)


async def test_an_error_without_a_text_does_not_keep_the_task(lab: Lab) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text for you")

    @lab.app.task("work")
    async def work() -> None:
        raise MuteError

    await lab.start()
    task_id, state = await lab.run("work")
    assert state == "retry"
    assert "MuteError" in lab.error(task_id)


async def test_a_long_error_is_cut_to_valid_text(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL", "qd.task")  # the report of a test must be valid text, too

    @lab.app.task("work")
    async def work() -> None:
        raise ValueError("ü" * 10_000 + "\ud800")

    await lab.start()
    task_id, _ = await lab.run("work")
    error = lab.error(task_id)
    assert 8000 < len(error.encode()) <= 8192
    assert error.startswith("ValueError: üü")


@pytest.mark.parametrize("delay", [math.nan, math.inf, -5, "soon", None])
async def test_a_retry_rule_gone_wrong_does_not_keep_the_task(lab: Lab, delay: Any) -> None:
    def rule(retried: int, error: BaseException, task: Task) -> float:
        if delay is None:
            raise LookupError("broken rule")
        return delay  # type: ignore[no-any-return]

    @lab.app.task("work", retry=rule)
    async def work() -> None:
        raise ValueError

    await lab.start()
    task_id, state = await lab.run("work")
    assert state == "retry"
    assert lab.raw.zscore(keys.retry(QUEUE), task_id) == pytest.approx(time.time() + 60, abs=5)


async def test_the_rule_of_a_task_gets_retries_error_and_task(lab: Lab) -> None:
    seen: list[Any] = []

    def rule(retried: int, error: BaseException, task: Task) -> float:
        seen.append((retried, str(error), task.id, task.payload))
        return 7

    @lab.app.task("work", retry=rule)
    async def work(n: int) -> None:
        raise ValueError("v")

    await lab.start()
    task_id, _ = await lab.run("work", {"n": 1})
    assert seen == [(0, "v", task_id, b'{"n":1}')]


async def test_on_error_hears_of_failures_and_not_of_directives(lab: Lab) -> None:
    heard: list[Any] = []

    @lab.app.on_error
    def hear(ctx: Context | None, error: BaseException) -> None:
        assert ctx is not None
        heard.append((ctx.task_type, str(error)))

    @lab.app.task("fails")
    async def fails() -> None:
        raise ValueError("v")

    @lab.app.task("skips")
    async def skips() -> None:
        raise SkipRetry("s")

    await lab.start()
    await lab.run("fails")
    await lab.run("skips")
    assert heard == [("fails", "v")]


async def test_an_error_that_is_no_failure_uses_up_no_retry(lab: Lab) -> None:
    @lab.app.is_failure
    def counts(error: BaseException) -> bool:
        return not isinstance(error, ConnectionError)

    @lab.app.task("work")
    async def work() -> None:
        raise ConnectionError("not yet")

    await lab.start()
    task_id, state = await lab.run("work")
    assert state == "retry"
    assert lab.message(task_id).terms.retried == 0
    assert not lab.raw.exists(keys.failed(QUEUE))


@pytest.mark.parametrize("raised", [LookupError("hook"), SystemExit(1)])
@pytest.mark.parametrize("hook", ["on_error", "is_failure"])
async def test_a_hook_that_raises_changes_nothing(
    lab: Lab, hook: str, raised: BaseException
) -> None:
    def broken(*_: Any) -> bool:
        raise raised

    getattr(lab.app, hook)(broken)

    @lab.app.task("work")
    async def work() -> None:
        raise ValueError("v")

    await lab.start()
    task_id, state = await lab.run("work")
    assert (state, lab.error(task_id)) == ("retry", "ValueError: v")
    assert lab.message(task_id).terms.retried == 1


async def test_a_plain_function_that_returns_a_coroutine_is_awaited(lab: Lab) -> None:
    async def inner() -> str:
        await asyncio.sleep(0)
        return "done"

    # As decorators of other libraries leave them.
    lab.app.register_handler("work", lambda: inner(), retention="1h")
    await lab.start()
    task_id, state = await lab.run("work", retention="1h")
    assert state == "completed"
    assert json.loads(lab.raw.hget(keys.task(QUEUE, task_id), "result")) == "done"


async def test_every_way_to_end_is_counted(lab: Lab) -> None:
    @lab.app.task("fine")
    async def fine() -> None: ...

    @lab.app.task("kept", retention="1h")
    async def kept() -> None: ...

    @lab.app.task("fails")
    async def fails() -> None:
        raise ValueError

    @lab.app.task("skips")
    async def skips() -> None:
        raise SkipRetry

    worker = await lab.start()
    for task_type in ("fine", "kept", "fails", "skips"):
        await lab.run(task_type)
    assert worker.done == 4
    assert lab.raw.get(keys.processed_on(QUEUE, TODAY)) == b"4"
    assert lab.raw.get(keys.failed_on(QUEUE, TODAY)) == b"2"


async def test_what_a_run_carries_to_the_next_is_checked_where_it_is_said(lab: Lab) -> None:
    wrong: list[Any] = [7, "\udc80"]
    refused = []

    @lab.app.task("work", max_retry=1)
    async def work(ctx: Context) -> None:
        for value in wrong:
            try:
                ctx.carry("so-far", value)
            except QdError as error:
                refused.append(error)
        raise RuntimeError("on purpose")

    await lab.start()
    _, state = await lab.run("work")
    assert state == "retry"
    assert len(refused) == 2


@pytest.mark.parametrize("note", ["\udc80", "\x00", "x" * 10_000])
async def test_odd_progress_keeps_no_task_from_its_end(lab: Lab, note: str) -> None:
    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        ctx.progress(1, 2, note)

    await lab.start()
    _, state = await lab.run("work")
    assert state == ""


async def test_a_run_without_an_outcome_gives_its_task_up(lab: Lab) -> None:
    """Whatever goes wrong with it here: renewed for ever, its lease would keep others from it."""
    ran = asyncio.Event()

    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        odd: Any = {"no": "text", 7: 7}
        ctx.carried = odd
        ran.set()
        raise RuntimeError("on purpose")

    @lab.app.task("next")
    async def following() -> None: ...

    worker = await lab.start()
    info = await lab.enqueue("work")
    await soon(ran)
    await aeventually(lambda: worker.drained and worker.busy == 0)
    assert lab.state(info.id) == "active", "until its lease runs out"
    _, state = await lab.run("next")
    assert state == "", "the worker goes on"
