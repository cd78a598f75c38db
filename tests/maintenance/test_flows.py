"""Flows whose links others have ended: a worker that died right after, a Go server, an operator."""

from __future__ import annotations

import time

import pytest

from qd.client.builder import TaskBuilder
from qd.client.flow import Flow, chain, gather
from qd.client.starting import NewFlow, begin, compose, store_and_start
from qd.client.steps import carry_out
from qd.maintenance.counters import Counters
from qd.maintenance.flows import Flows
from qd.protocol import codec, keys
from qd.protocol.flow import Place
from qd.protocol.op import command
from qd.protocol.ops import endings, flows, inspect_tasks
from qd.protocol.ops.endings import Ending, Fate, Held
from qd.protocol.ops.flows import FlowState
from qd.protocol.ops.inspect import Container
from qd.protocol.state import TaskState
from tests.maintenance.lab import COMPOSER, Lab, no_options

QUEUES = ("q", "other")


@pytest.fixture
def counts() -> Counters:
    return Counters()


@pytest.fixture
def loop(lab: Lab, counts: Counters) -> Flows:
    return Flows(lab.link, QUEUES, queue_prefix="", counts=counts)


def link(queue: str = "q") -> TaskBuilder:
    return TaskBuilder(None, "demo").queue(queue)  # type: ignore[arg-type]


def new(flow: Flow) -> NewFlow:
    return compose(flow, COMPOSER, flow_id="f", options_of=no_options, headers={})


async def begun(lab: Lab, *parts: TaskBuilder | Flow) -> None:
    await carry_out(lab.link, begin(new(chain(*parts)), None))


def link_id(number: int) -> str:
    return Place("f", number).task_id


async def end(
    lab: Lab, number: int, queue: str = "q", *, noted: bool, at: float, dead: bool = False
) -> None:
    """End a pending link, as a worker does that dies right after, or as a Go server."""
    (taken,) = await lab.take(queue, lease_until=at + 15)
    assert taken.id == link_id(number)
    lease = Held(taken.id, int(at + 15), int(at + 15))
    ending = Ending(lease, message=taken.message, at=int(at + 3600), result=b"7")
    operation = endings.archive if dead else endings.complete
    op = operation(queue, "w1", [ending], day="2030-01-01", now=int(at))
    assert await lab.link.execute(flows.noting_ends(op, queue, now=at) if noted else op) == [
        Fate.OK
    ]


async def state(lab: Lab) -> FlowState | None:
    shown = await lab.link.execute(flows.show("f"))
    return None if shown is None else shown.state


async def test_an_end_that_was_noted_is_taken_up_a_second_later(
    lab: Lab, loop: Flows, counts: Counters
) -> None:
    now = time.time()
    await begun(lab, link(), link("other"))
    await end(lab, 1, noted=True, at=now)
    await loop.step(now + 0.5)
    assert lab.state(link_id(2), "other") is None
    await loop.step(now + 1.1)
    assert lab.state(link_id(2), "other") == "pending"
    assert counts.continued == 1
    assert not lab.raw.exists(keys.ended_links("q"))
    await end(lab, 2, "other", noted=True, at=now)
    await loop.step(now + 1.2)
    assert await state(lab) is FlowState.DONE
    assert not lab.raw.exists(keys.flows(""))
    assert await loop.step(now + 2) == 1.0


async def test_an_end_that_nobody_noted_is_seen_by_looking(
    lab: Lab, loop: Flows, counts: Counters
) -> None:
    now = time.time()
    await begun(lab, link(), gather([link(), link("other")]))
    await end(lab, 1, noted=False, at=now)
    await loop.step(now + 1.5)
    assert lab.state(link_id(2)) == "pending"
    assert lab.state(link_id(3), "other") == "pending"
    assert counts.continued == 1
    assert await lab.link.execute(flows.results("f", [1])) == [b"7"]


async def test_a_flow_that_gets_no_further_is_looked_at_less_and_less(
    lab: Lab, loop: Flows
) -> None:
    now = time.time()
    await begun(lab, link(), link())
    at, pauses = now + 1.1, []
    for _ in range(12):
        await loop.step(at)
        due = lab.raw.zscore(keys.flows(""), "f")
        pauses.append(due - at)
        at = due
    assert pauses == sorted(pauses)
    assert (round(pauses[0]), pauses[-1]) == (1, pytest.approx(30, abs=0.1))


async def test_a_link_that_is_dead_for_good_is_told_of_and_goes_on_when_it_lives(
    lab: Lab, loop: Flows
) -> None:
    now = time.time()
    await begun(lab, link(), link())
    await end(lab, 1, noted=False, at=now, dead=True)
    await loop.step(now + 1.5)
    assert await state(lab) is FlowState.FAILED
    source = Container("q", TaskState.ARCHIVED)
    rewrite = inspect_tasks.Rewrite(link_id(1), b"", b"")
    await lab.link.execute(inspect_tasks.run(source, [rewrite], now_ns=time.time_ns()))
    await loop.step(now + 40)
    assert await state(lab) is FlowState.RUNNING
    await end(lab, 1, noted=False, at=now)
    await loop.step(now + 80)
    assert lab.state(link_id(2)) == "pending"


async def test_a_link_that_is_deleted_breaks_the_flow_which_is_forgotten_later(
    lab: Lab, loop: Flows
) -> None:
    now = time.time()
    await begun(lab, link(), link())
    deleted = inspect_tasks.delete(Container("q", TaskState.PENDING), [(link_id(1), "")])
    await lab.link.execute(deleted)
    await loop.step(now + 1.5)
    assert await state(lab) is FlowState.BROKEN
    assert 0 < lab.raw.ttl(keys.flow("f")) <= flows.KEEP_BROKEN
    assert not lab.raw.exists(keys.flows(""))


async def test_a_flow_whose_maker_died_before_it_began_vanishes(lab: Lab, loop: Flows) -> None:
    now = time.time()
    steps = store_and_start(new(chain(link(), link())), None)
    ops = next(steps)
    # All but the last step: it is stored, and on the list.
    for _ in range(2):
        ops = steps.send(await lab.link.execute_each(ops))
    await lab.link.execute_each(ops)
    await loop.step(now + 2)
    assert await state(lab) is FlowState.STORING
    assert lab.ids("pending") == []
    assert lab.raw.zscore(keys.flows(""), "f") == pytest.approx(now + 22, abs=0.1)
    assert 0 < lab.raw.ttl(keys.flow("f")) <= 600
    lab.raw.delete(keys.flow("f"))
    await loop.step(now + 30)
    assert not lab.raw.exists(keys.flows(""), keys.flow("f"), keys.flow_ready("f"))


async def test_a_flow_whose_maker_died_after_it_began_is_moved(lab: Lab, loop: Flows) -> None:
    now = time.time()
    await carry_out(lab.link, store_and_start(new(chain(link(), link())), None))
    assert lab.ids("pending") == []
    await loop.step(now + 1.5)
    assert lab.ids("pending") == [link_id(1)]


async def test_many_ends_of_a_wide_flow_are_all_seen(lab: Lab, loop: Flows) -> None:
    now = time.time()
    await begun(lab, gather([link() for _ in range(250)]), link("other"))
    taken = await lab.take(lease_until=now + 15, count=250)
    members = [
        Ending(Held(one.id, int(now + 15), int(now + 15)), message=one.message, at=int(now + 3600))
        for one in taken
    ]
    await lab.link.execute(endings.complete("q", "w1", members, day="2030-01-01", now=int(now)))
    at = now + 1.5
    for _ in range(4):
        at += await loop.step(at)
    # Much sooner than a second for each look.
    assert at < now + 4.5
    assert lab.state(link_id(251), "other") == "pending"


async def test_two_schedulers_do_the_same_as_one(lab: Lab, loop: Flows, counts: Counters) -> None:
    now = time.time()
    other = Flows(lab.link, QUEUES, queue_prefix="", counts=counts)
    await begun(lab, link(), link())
    await end(lab, 1, noted=True, at=now)
    await loop.step(now + 1.1)
    await other.step(now + 1.1)
    assert lab.ids("pending") == [link_id(2)]


async def test_one_broken_flow_holds_up_no_other(
    lab: Lab, loop: Flows, caplog: pytest.LogCaptureFixture
) -> None:
    now = time.time()
    await begun(lab, link(), link())
    await end(lab, 1, noted=False, at=now)
    lab.raw.set(keys.flow("bad"), "x")
    lab.raw.zadd(keys.flows(""), {"bad": now - 5})
    await loop.step(now + 1.5)
    assert lab.ids("pending") == [link_id(2)]
    assert "flow bad is left out until this is mended" in caplog.text


async def test_nothing_to_do_costs_two_questions(lab: Lab, loop: Flows) -> None:
    await lab.link.execute(command("PING", [], [], bool))
    lab.raw.config_resetstat()
    await loop.step(time.time())
    assert dict(lab.calls()).get("exists") == 2


async def test_what_a_link_says_of_its_place_stands_in_its_message(lab: Lab) -> None:
    await begun(lab, link(), link())
    message = codec.decode_task(lab.field(link_id(1), "msg") or b"")
    assert dict(message.terms.headers) == {"qd-flow": "f:1"}
    assert message.terms.retention == 3600
