"""`ctx.progress`: how far a run is, for others to see; cheap for the handler."""

from __future__ import annotations

import asyncio
import threading

import pytest

from qd.errors import UsageError
from qd.handlers.context import Context
from qd.protocol.progress import Progress, checked, decode, encode
from tests.runtime.lab import Lab, soon
from tests.support.wait import aeventually


async def test_what_a_coroutine_says_is_seen_while_it_runs_and_afterwards(lab: Lab) -> None:
    go = asyncio.Event()

    @lab.app.task("work", retention="1h")
    async def work(ctx: Context) -> None:
        ctx.progress(4, 10, "encoding")
        await go.wait()
        ctx.progress(10, 10)

    await lab.start()
    info = await lab.enqueue("work", retention="1h")
    said = await aeventually(info.aprogress)
    assert said is not None
    assert (said.done, said.total, said.note, str(said)) == (4, 10, "encoding", "40% (4 of 10) encoding")  # fmt: skip
    go.set()
    assert await lab.settled(info.id) == "completed"
    # It was written before the outcome, for afterwards nobody may.
    view = lab.app.inspector().tasks.get("q", info.id)
    assert view.progress is not None
    assert str(view.progress) == "100% (10 of 10)"


async def test_a_thread_says_it_without_waiting_for_anything(lab: Lab) -> None:
    go = threading.Event()

    @lab.app.task("work")
    def work(ctx: Context) -> None:
        ctx.progress(1, note="half\ud800")
        go.wait(10)

    await lab.start()
    info = await lab.enqueue("work")
    said = await aeventually(info.aprogress)
    assert (said and (said.done, said.total, said.share, said.note)) == (1, None, None, "half?")
    assert await asyncio.to_thread(info.progress) == said
    with pytest.raises(UsageError, match="block the event loop"):
        info.progress()
    go.set()
    assert await lab.settled(info.id) == ""
    assert await info.aprogress() is None


async def test_a_tight_loop_writes_little_and_its_last_word_counts(lab: Lab) -> None:
    rounds = 20_000

    @lab.app.task("work")
    def work(ctx: Context) -> None:
        for done in range(rounds + 1):
            ctx.progress(done, rounds)
        raise LookupError

    await lab.start()
    # The first on a server only makes the script known to it.
    assert await lab.settled((await lab.enqueue("work")).id, within=30) == "retry"
    lab.raw.config_resetstat()
    info = await lab.enqueue("work")
    assert await lab.settled(info.id, within=30) == "retry"
    said = lab.app.inspector().tasks.get("q", info.id).progress
    assert said is not None
    assert said.done == rounds
    calls = sum(
        one["calls"] for name, one in lab.raw.info("commandstats").items() if "eval" in name
    )
    assert calls < 200, "each round would be a call"


async def test_a_run_that_was_put_back_says_nothing_any_more(lab: Lab) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    @lab.app.task("work")
    async def work(ctx: Context) -> None:
        started.set()
        try:
            await go.wait()
        finally:
            ctx.progress(1, 2)

    await lab.start()
    info = await lab.enqueue("work")
    await soon(started)
    await lab.stop(0)
    assert lab.state(info.id) == "pending"
    assert await info.aprogress() is None


@pytest.mark.parametrize("wrong", [("4", 10), (float("nan"), 10), (1, float("inf")), (None, 1)])
def test_what_is_no_number_is_refused_where_it_is_said(wrong: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="give numbers"):
        checked(*wrong, "")


def test_it_is_stored_and_read_again() -> None:
    told = Progress(1.5, 3, "note", 1e9)
    assert decode(encode(told)) == told
    assert decode(None) is None
    assert decode(b"[]") is None
    assert decode(b"\xff") is None
    assert (Progress(5, 4).share, Progress(-1, 4).share, Progress(1, 0).share) == (1, 0, None)
    assert len(checked(1, 2, "x" * 1000).note) == 200
