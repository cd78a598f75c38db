"""`ctx.once`: a side effect happens in one run, and all runs get what it gave."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from qd.handlers.context import Context
from qd.protocol import keys
from tests.runtime.lab import Lab, soon
from tests.support.wait import aeventually


async def test_the_next_run_gets_the_result_of_the_first(lab: Lab) -> None:
    calls: list[str] = []
    got: list[Any] = []

    @lab.app.task("work", retry=lambda *_: 0.0)
    async def work(ctx: Context) -> None:
        async def charge() -> dict[str, Any]:
            calls.append(ctx.task_id)
            return {"receipt": (1, 2)}

        got.append(await ctx.once("charge:42", charge))
        if len(got) == 1:
            raise LookupError

    await lab.start()
    info = await lab.enqueue("work")
    assert await lab.settled(info.id) == "retry"
    lab.app.inspector().tasks.run("q", info.id)
    assert await lab.settled(info.id) == ""
    # What comes from JSON comes from JSON in the first run as well.
    assert got == [{"receipt": [1, 2]}] * 2
    assert len(calls) == 1


async def test_in_synchronous_handlers_it_runs_in_the_thread_of_the_handler(lab: Lab) -> None:
    threads: list[int] = []
    got: list[Any] = []

    @lab.app.task("work")
    def work(ctx: Context) -> None:
        threads.append(threading.get_ident())
        got.append(ctx.once_now("charge:42", lambda: threads.append(threading.get_ident())))
        got.append(ctx.once_now("charge:42", lambda: threads.append(0)))

    await lab.start()
    assert (await lab.run("work"))[1] == ""
    assert got == [None, None]
    assert len(threads) == 2
    assert len(set(threads)) == 1


async def test_what_raises_has_not_happened(lab: Lab) -> None:
    calls: list[str] = []

    @lab.app.task("work")
    async def work(ctx: Context, fail: bool) -> None:
        def charge() -> None:
            calls.append(ctx.task_id)
            if fail:
                raise LookupError("no account")

        await ctx.once("charge:42", charge)

    await lab.start()
    first, state = await lab.run("work", {"fail": True})
    assert (state, lab.error(first)) == ("retry", "LookupError: no account")
    second, state = await lab.run("work", {"fail": False})
    assert state == ""
    assert calls == [first, second]


async def test_while_one_task_is_at_it_the_others_wait_for_its_result(lab: Lab) -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    got: list[Any] = []

    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        async def charge() -> str:
            begun.set()
            await go.wait()
            return ctx.task_id

        got.extend(await asyncio.gather(*(ctx.once("charge:42", charge) for _ in range(3))))

    await lab.start()
    infos = [await lab.enqueue("work") for _ in range(3)]
    await soon(begun)
    go.set()
    for info in infos:
        assert await lab.settled(info.id) == ""
    assert len(got) == 9
    assert len(set(got)) == 1


async def test_a_run_that_is_broken_off_leaves_a_doubt(lab: Lab) -> None:
    begun = asyncio.Event()

    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        async def charge() -> None:
            begun.set()
            await asyncio.sleep(60)

        if ctx.attempt == 1:
            await ctx.once("charge:42", charge)
        await ctx.once("charge:42", charge, doubt="raise")

    await lab.start()
    info = await lab.enqueue("work", max_retry=1)
    await soon(begun)
    lab.app.inspector().tasks.cancel(info.id)
    assert await lab.settled(info.id) == "retry"
    lab.app.inspector().tasks.run("q", info.id)
    assert await lab.settled(info.id) == "archived"
    assert "an earlier run may have done this" in lab.error(info.id)


async def test_a_result_without_a_json_form_is_none_for_all(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    got: list[Any] = []

    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        got.append(await ctx.once("charge:42", object))
        got.append(await ctx.once("charge:42", object))

    await lab.start()
    assert (await lab.run("work"))[1] == ""
    assert got == [None, None]
    assert "the result is not kept" in caplog.text


async def test_it_is_remembered_for_the_time_of_the_settings_or_of_the_call(lab: Lab) -> None:
    lab.configure(worker={"once_keep": "2h"}, queue_prefix="prod_")

    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        await ctx.once("a", lambda: 1)
        await ctx.once("b", lambda: 1, keep="10s")

    await lab.start()
    info = await lab.enqueue("work")
    await aeventually(lambda: not lab.state(info.id, "prod_q"))
    # Another environment on the same Redis has a ledger of its own.
    assert 7100 < lab.raw.ttl(keys.once("prod_a")) <= 7200
    assert 8 < lab.raw.ttl(keys.once("prod_b")) <= 10
