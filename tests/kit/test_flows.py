"""Flows in a kit: one link after the other, and what happens when one dies."""

from __future__ import annotations

import pytest

import qd
from qd import App, Context
from qd.testing import Kit


def test_a_flow_is_drained_to_its_end(app: App, kit: Kit) -> None:
    ran: list[str] = []

    @app.task("order:step", queue="high")
    def step(name: str) -> str:
        ran.append(name)
        return name

    @app.task("order:close", queue="low")
    def close(ctx: Context) -> list[str]:
        return list(ctx.results_now())

    flow = qd.chain(
        step.link(name="pay"),
        qd.gather([step.link(name="pick"), step.link(name="pack")]),
        close.link(),
    )
    handle = flow.enqueue()
    kit.drain()
    assert ran[0] == "pay"
    assert sorted(ran[1:]) == ["pack", "pick"]
    assert handle.info().state == "done"
    assert sorted(handle.result(5)) == ["pack", "pick"]


def test_a_dead_link_stops_a_flow_until_it_is_brought_back(app: App, kit: Kit) -> None:
    broken = [True]

    @app.task("pay", max_retry=0)
    def pay() -> None:
        if broken:
            raise ConnectionError("no bank")

    @app.task("ship")
    def ship() -> None:
        pass

    handle = qd.chain(pay.link(), ship.link()).enqueue()
    kit.drain()
    kit.assert_not_enqueued("ship")
    assert handle.info().state == "failed"
    broken.clear()
    [dead] = kit.dead
    app.inspector().tasks.run(dead.queue, dead.id)
    kit.drain()
    assert handle.info().state == "done"


def test_a_link_that_is_delayed_runs_when_its_time_has_come(app: App, kit: Kit) -> None:
    @app.task("first")
    def first() -> None:
        pass

    @app.task("second")
    def second() -> None:
        pass

    handle = qd.chain(first.link(), second.link().process_in("1h")).enqueue()
    kit.drain()
    assert handle.info().state == "running"
    kit.advance("1h")
    assert handle.info().state == "done"


@pytest.mark.parametrize("minutes", [0, 90])
def test_results_are_there_however_late(app: App, kit: Kit, minutes: int) -> None:
    got: list[object] = []

    @app.task("first")
    def first() -> int:
        return 7

    @app.task("second", max_retry=3)
    def second(ctx: Context) -> None:
        if ctx.retried == 0 and minutes:
            raise qd.RetryAfter(minutes * 60)
        got.extend(ctx.results_now())

    qd.chain(first.link(), second.link()).enqueue()
    kit.drain()
    kit.advance(f"{minutes + 1}m")
    assert got == [7]
