"""Flows over real processes that die at each step: every link is started once."""

from __future__ import annotations

from collections import Counter

import pytest

import qd
from qd.client.flow_info import FlowInfo
from qd.protocol import keys
from qd.protocol.flow import Place
from qd.protocol.ops.flows import FlowState
from tests.process.daemon import QUEUE, Daemon
from tests.support.procs import Proc
from tests.support.wait import eventually

pytestmark = pytest.mark.process

APP = "tests.process.apps.flows"
LINKS = 5
STEPS = ("flow.ended", "flow.told", "flow.enqueued", "flow.confirmed")


def start(daemon: Daemon, fail_point: str, *flags: str) -> Proc:
    proc = daemon.command("worker", "--app", APP, *flags, env={"QD_FAILPOINT": fail_point})
    proc.err.wait(r"all \d+ children are ready", 20)
    return proc


def enqueue(daemon: Daemon) -> FlowInfo:
    link = daemon.app.new_task("link").queue(QUEUE)
    return (link >> qd.gather([link, link, link]) >> link).enqueue()


def check(daemon: Daemon, flow: str, links: int) -> None:
    """Each link was started once, unless a process died inside; nothing is left but flow and links."""
    ids = [Place(flow, number).task_id for number in range(1, links + 1)]
    starts = [event for event in daemon.events("start") if event.type == "link"]
    # Whoever has moved the flow first may have begun with what follows when it was killed.
    mover = next(event.pid for event in starts if event.id == ids[0])
    again = [event for event in starts if event.pid != mover or event.id == ids[0]]
    assert {event.id for event in starts} == set(ids)
    assert max(Counter(event.id for event in again).values()) == 1
    eventually(lambda: not daemon.raw.exists(keys.flows(""), keys.ended_links(QUEUE)), 20)
    assert list(daemon.raw.scan_iter("qd:{flow:*")) == [keys.flow(flow).encode()]
    assert daemon.raw.ttl(keys.flow(flow)) > 3000


@pytest.mark.parametrize("action", ["kill", "exc"])
@pytest.mark.parametrize("step", STEPS)
def test_whoever_moves_a_flow_may_die_at_each_step(daemon: Daemon, step: str, action: str) -> None:
    proc = start(daemon, f"{step}:{action}")
    info = enqueue(daemon)
    results = info.result(40)
    proc.err.wait(f"fail point {step}: {action}")
    ids = [Place(info.id, number).task_id for number in range(1, LINKS + 1)]
    assert results == [ids[0], ids[1], ids[0], ids[2], ids[0], ids[3], ids[4]]
    check(daemon, info.id, LINKS)


@pytest.mark.parametrize("step", STEPS[:3])
def test_a_scheduler_may_die_where_it_does_the_work_of_a_worker(daemon: Daemon, step: str) -> None:
    """The worker dies first, so that the flow is a scheduler's to move: this one's, or its own host's."""
    proc = start(daemon, "flow.ended:kill:1")
    scheduler = daemon.command("scheduler", "--app", APP, env={"QD_FAILPOINT": f"{step}:kill:1"})
    scheduler.err.wait("ready", 20)
    info = enqueue(daemon)
    assert info.wait(40).state is FlowState.DONE
    proc.err.wait("fail point flow.ended: kill")
    check(daemon, info.id, LINKS)


@pytest.mark.parametrize("step", ["flow.told", "flow.enqueued"])
def test_a_handler_that_makes_a_flow_and_dies_makes_it_once(daemon: Daemon, step: str) -> None:
    proc = start(daemon, f"{step}:kill")
    maker = daemon.enqueue("maker")
    daemon.wait_for("conflict", maker, within=20)
    proc.err.wait(f"fail point {step}: kill")
    info = FlowInfo(maker, enqueue(daemon).waiting)
    assert info.wait(40).state is FlowState.DONE
    assert info.info().links == 3
    ids = {Place(maker, number).task_id for number in (1, 2, 3)}
    starts = Counter(event.id for event in daemon.events("start") if event.id in ids)
    assert starts == dict.fromkeys(ids, 1)


def test_without_a_scheduler_workers_alone_move_flows(daemon: Daemon) -> None:
    proc = daemon.command("worker", "--app", APP, "--no-scheduler")
    proc.err.wait(r"all \d+ children are ready", 20)
    assert enqueue(daemon).wait(40).state is FlowState.DONE
