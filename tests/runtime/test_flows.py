"""Flows from the side of who writes them: what follows what, results, and what stops a flow."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

import qd
from qd.errors import (
    FlowIdConflict,
    FlowNotFound,
    FlowStopped,
    PayloadTooLarge,
    QueueFull,
    TimedOut,
    UsageError,
)
from qd.protocol import keys
from qd.protocol.flow import Place
from qd.protocol.ops.flows import FlowState
from tests.runtime.lab import QUEUE, Lab
from tests.support.wait import aeventually

WITHIN = 30.0


@pytest.fixture
def ran() -> list[str]:
    return []


@pytest.fixture
def step(lab: Lab, ran: list[str]) -> Any:
    """A task that gives its own name with the results before it."""

    @lab.app.task("step")
    async def step(name: str, ctx: qd.Context) -> str:
        ran.append(name)
        return f"{name}({','.join(await ctx.results())})"

    return step


async def test_each_link_gets_what_those_directly_before_it_have_left(
    lab: Lab, step: Any, ran: list[str]
) -> None:
    await lab.start()
    flow = (
        step.link("a")
        >> qd.gather([step.link("b") >> step.link("c"), step.link("d")])
        >> qd.gather([step.link("e"), step.link("f")])
        >> step.link("g")
    )
    info = await flow.aenqueue()
    shared = "c(b(a())),d(a())"
    assert await info.aresult(WITHIN) == f"g(e({shared}),f({shared}))"
    assert Counter(ran) == Counter("abcdefg")
    assert (ran[0], ran[-1]) == ("a", "g")
    end = await info.ainfo()
    assert (end.state, end.links, end.ended) == (FlowState.DONE, 7, 7)


async def test_a_synchronous_handler_reads_them_as_well(lab: Lab, step: Any) -> None:
    @lab.app.task("sync")
    def sync(ctx: qd.Context) -> list[Any]:
        return ctx.results_now()

    await lab.start()
    flow = qd.chain(qd.gather([step.link("a"), step.link("b")]), sync.link())
    assert await (await flow.aenqueue()).aresult(WITHIN) == ["a()", "b()"]


async def test_a_flow_that_ends_side_by_side_has_a_list_of_results(lab: Lab, step: Any) -> None:
    await lab.start()
    info = await qd.gather([step.link(name) for name in "abc"]).aenqueue()
    assert await info.aresult(WITHIN) == ["a()", "b()", "c()"]


async def test_results_may_be_bytes_or_nothing_and_tasks_of_no_flow_have_none(lab: Lab) -> None:
    seen: list[list[Any]] = []

    @lab.app.task("raw")
    async def raw(ctx: qd.Context) -> bytes:
        seen.append(await ctx.results())
        return b"\xff"

    @lab.app.task("nothing")
    async def nothing() -> None: ...

    @lab.app.task("written")
    async def written(ctx: qd.Context) -> None:
        await ctx.write_result({"n": 1})

    @lab.app.task("last")
    async def last(ctx: qd.Context) -> None:
        seen.append(await ctx.results())

    await lab.start()
    flow = qd.gather([raw.link(), nothing.link(), written.link()]) >> last.link()
    info = await flow.aenqueue()
    assert await info.aresult(WITHIN) is None
    await lab.run("raw")
    assert seen == [[], [b"\xff", None, {"n": 1}], []]


async def test_links_keep_their_own_options(lab: Lab, step: Any) -> None:
    lab.configure(queues={QUEUE: 1, "other": 1})
    flow = (
        step.options(retention="3h", headers={"x": "1"}).link("a")
        >> lab.app.new_task("go:work").payload({"n": 1}).queue("other").max_retry(3)
        >> step.options(process_in="1h").link("c")
    )
    info = await flow.aenqueue(id="mine")
    first = lab.message(Place("mine", 1).task_id)
    assert (first.terms.retention, dict(first.terms.headers)) == (
        3 * 3600, {"x": "1", "qd-flow": "mine:1"},
    )  # fmt: skip
    await lab.start()
    second = Place("mine", 2).task_id
    await aeventually(lambda: lab.state(second, "other") == "retry", WITHIN)
    terms = lab.message(second, "other").terms
    assert (terms.max_retry, terms.retention) == (3, 3600)
    assert (await info.ainfo()).state is FlowState.RUNNING


async def test_a_delay_begins_when_the_link_before_has_ended(lab: Lab, step: Any) -> None:
    await lab.start()
    info = await (step.link("a") >> step.options(process_in="1h").link("b")).aenqueue()
    second = Place(info.id, 2).task_id
    await aeventually(lambda: lab.state(second) == "scheduled", WITHIN)


async def test_a_dead_link_stops_the_flow_until_it_is_brought_back(
    lab: Lab, step: Any, ran: list[str]
) -> None:
    works = False

    @lab.app.task("mood", max_retry=0)
    async def mood() -> str:
        if not works:
            raise ValueError("not today")
        return "works"

    await lab.start()
    info = await (step.link("a") >> mood.link() >> step.link("b")).aenqueue()
    end = await info.await_end(WITHIN)
    dead = Place(info.id, 2).task_id
    assert (end.state, end.ended, end.stopped_at, end.error) == (
        FlowState.FAILED, 1, dead, "ValueError: not today",
    )  # fmt: skip
    with pytest.raises(FlowStopped, match=f"failed at {dead}: ValueError: not today"):
        end.value()
    works = True
    await asyncio.to_thread(lab.app.inspector().tasks.run, QUEUE, dead)
    await aeventually(lambda: lab.raw.hget(keys.flow(info.id), "state") == b"done", WITHIN)
    assert ran == ["a", "b"]


async def test_a_revoked_link_ends_its_branch_for_good(lab: Lab, step: Any, ran: list[str]) -> None:
    @lab.app.task("revoked")
    async def revoked() -> None:
        raise qd.RevokeTask

    await lab.start()
    flow = qd.gather([revoked.link() >> step.link("x"), step.link("a") >> step.link("b")])
    info = await (flow >> step.link("y")).aenqueue()
    end = await info.await_end(WITHIN)
    assert (end.state, end.stopped_at) == (FlowState.BROKEN, Place(info.id, 1).task_id)
    with pytest.raises(FlowStopped, match="gone: deleted, or revoked"):
        end.value()
    await aeventually(lambda: lab.raw.ttl(keys.flow(info.id)) > 0, WITHIN)
    assert ran == ["a", "b"]
    await aeventually(lambda: not lab.raw.exists(keys.flows(""), keys.ended_links(QUEUE)), WITHIN)


async def test_a_link_that_is_retried_holds_up_what_follows(lab: Lab, ran: list[str]) -> None:
    lab.configure(retry={"policy": "fixed", "initial": "10ms"})

    @lab.app.task("second", max_retry=3)
    async def second(ctx: qd.Context) -> int:
        ran.append(f"second {ctx.retried}")
        if not ctx.retried:
            raise qd.Snooze(3600)
        return ctx.retried

    @lab.app.task("third")
    async def third() -> None:
        ran.append("third")

    await lab.start()
    info = await (second.link() >> third.link()).aenqueue()
    await aeventually(lambda: lab.state(Place(info.id, 1).task_id) == "retry", WITHIN)
    assert ran == ["second 0"]
    assert (await info.ainfo()).state is FlowState.RUNNING
    with pytest.raises(TimedOut, match="still running after"):
        await info.await_end(0.05)


async def test_what_no_link_can_have_is_refused_and_nothing_is_sent(lab: Lab, step: Any) -> None:
    lab.configure(payload_limit=100)
    for wrong in (
        step.options(task_id="x").link("a"),
        step.options(unique="1h").link("a"),
        step.options(group="g").link("a"),
    ):
        with pytest.raises(UsageError, match="no link of a flow"):
            await (step.link("a") >> wrong).aenqueue()
    with pytest.raises(PayloadTooLarge):
        await (step.link("a") >> step.link("b" * 200)).aenqueue()
    assert lab.raw.dbsize() == 0


async def test_an_id_of_ones_own_is_used_once(lab: Lab, step: Any) -> None:
    flow = qd.chain(step.link("a"))
    assert (await flow.aenqueue(id="order-7")).id == "order-7"
    with pytest.raises(FlowIdConflict, match="order-7"):
        await flow.aenqueue(id="order-7")
    assert await asyncio.to_thread(_conflicts, flow)
    assert lab.raw.llen(keys.pending(QUEUE)) == 1


def _conflicts(flow: qd.Flow) -> bool:
    try:
        flow.enqueue(id="order-7")
    except FlowIdConflict:
        return True
    return False


async def test_a_flow_is_refused_as_a_whole_and_never_on_its_way(
    lab: Lab, step: Any, ran: list[str]
) -> None:
    lab.configure(
        queues={QUEUE: 1, "tight": 1},
        backpressure={"enabled": False, "queues": {"tight": {"enabled": True, "max_size": 1}}},
    )
    tight = step.options(queue="tight")
    await lab.app.client.aenqueue("step", {"name": "x"}, queue="tight", process_in="1h")
    with pytest.raises(QueueFull):
        await (tight.link("a") >> step.link("b")).aenqueue()
    assert not list(lab.raw.scan_iter("qd:{flow*"))
    await lab.start()
    info = await (step.link("a") >> tight.link("b") >> step.link("c")).aenqueue()
    assert await info.aresult(WITHIN) == "c(b(a()))"


async def test_synchronous_code_enqueues_waits_and_asks(lab: Lab, step: Any) -> None:
    await lab.start()

    def outside() -> tuple[Any, Any]:
        info = (step.link("a") >> step.link("b")).enqueue()
        return info.result(WITHIN), info.info().state

    assert await asyncio.to_thread(outside) == ("b(a())", FlowState.DONE)
    info = await qd.chain(step.link("a")).aenqueue()
    with pytest.raises(UsageError, match="event loop"):
        info.wait(1)


async def test_a_flow_that_is_over_vanishes_and_says_so(lab: Lab, step: Any) -> None:
    await lab.start()
    info = await (step.link("a") >> step.link("b")).aenqueue()
    await info.await_end(WITHIN)
    assert 3590 < lab.raw.ttl(keys.flow(info.id)) <= 3600
    await aeventually(lambda: not lab.raw.exists(keys.flows(""), keys.ended_links(QUEUE)), WITHIN)
    lab.raw.delete(keys.flow(info.id))
    with pytest.raises(FlowNotFound):
        await info.ainfo()
    assert not list(lab.raw.scan_iter("qd:*flow*"))


async def test_a_link_that_runs_again_after_its_end_changes_nothing(
    lab: Lab, step: Any, ran: list[str]
) -> None:
    await lab.start()
    info = await (step.link("a") >> step.link("b")).aenqueue()
    await info.await_end(WITHIN)
    await asyncio.to_thread(lab.app.inspector().tasks.run, QUEUE, Place(info.id, 1).task_id)
    await aeventually(lambda: ran == ["a", "b", "a"], WITHIN)
    await aeventually(lambda: not lab.raw.exists(keys.ended_links(QUEUE)), WITHIN)
    assert (await info.ainfo()).ended == 2
    assert ran == ["a", "b", "a"]


async def test_wide_stages_run_each_link_once(lab: Lab, step: Any, ran: list[str]) -> None:
    await lab.start()
    flow = (
        step.link("a")
        >> qd.gather([step.link(f"b{n}") for n in range(600)])
        >> qd.gather([step.link(f"c{n}") for n in range(5)])
        >> step.link("d")
    )
    await (await flow.aenqueue()).await_end(WITHIN)
    assert len(ran) == len(set(ran)) == 607


async def test_a_poll_can_be_a_link(lab: Lab, step: Any) -> None:
    @lab.app.poll("look", initial_delay="1s")
    async def look(ctx: qd.Context) -> str:
        if ctx.look < 2:
            raise qd.NotYet("in a moment")
        return "there"

    await lab.start()
    info = await (step.link("a") >> look.link() >> step.link("b")).aenqueue()
    poll = Place(info.id, 2).task_id
    for _ in range(2):
        await aeventually(lambda: lab.state(poll) in ("scheduled", "retry"), WITHIN)
        await asyncio.to_thread(lab.app.inspector().tasks.run, QUEUE, poll)
        await lab.settled(poll, within=WITHIN)
        if lab.state(poll) == "completed":
            break
    assert await info.aresult(WITHIN) == "b(there)"
