"""`qd flow`, and what `qd task` says of a link."""

from __future__ import annotations

import pytest

from qd.protocol import keys
from qd.protocol.flow import Place
from qd.protocol.ops.flows import NodeState
from tests.cli.conftest import Cli, Store
from tests.cli.flows import ORDER, store_order, tell


def task_id(number: int) -> str:
    return Place(ORDER, number).task_id


@pytest.fixture
def order(store: Store) -> Store:
    store_order(store)
    return store


def test_ls_shows_flows_that_are_not_over(cli: Cli, order: Store) -> None:
    found = cli("flow", "ls", "--json").json
    assert found["schema"] == "qd.flow.ls/1"
    [flow] = found["flows"]
    assert (flow["id"], flow["state"], flow["links"], flow["ended"]) == (ORDER, "running", 5, 1)
    assert "1/5" in cli("flow", "ls", "-o", "table").out
    for number in range(2, 6):
        tell(order, number, NodeState.DONE)
    assert "No flow is under way" in cli("flow", "ls").err


def test_show_says_what_became_of_each_link(cli: Cli, order: Store) -> None:
    tell(order, 3, NodeState.DEAD)
    order.raw.delete(keys.task("default", task_id(2)))
    flow = cli("flow", "show", ORDER, "--json").json["flow"]
    assert (flow["state"], flow["dead"], flow["stopped_at"]) == ("failed", 1, task_id(3))
    assert [(one["type"], one["state"]) for one in flow["shown"]] == [
        ("a", "done"), ("b", "gone"), ("c", "dead"), ("d", "waiting"), ("e", "waiting"),
    ]  # fmt: skip
    some = cli("flow", "show", ORDER, "--from", "4", "--limit", "1", "-o", "table").out
    assert f"waiting, d in default: {task_id(4)}" in some
    assert "link 5" not in some


def test_a_flow_that_does_not_exist_is_said_to(cli: Cli, store: Store) -> None:
    assert 'no flow "nothing"' in cli("flow", "show", "nothing", code=3).err


def test_task_show_says_what_came_before_and_what_waits(cli: Cli, order: Store) -> None:
    shown = cli("task", "show", task_id(2), "--json").json["task"]
    assert shown["headers"] == {"qd-flow": f"{ORDER}:2"}
    assert shown["flow"]["flow"]["id"] == ORDER
    assert (shown["flow"]["before"], shown["flow"]["behind"]) == (
        [task_id(1)], [task_id(4), task_id(5)],
    )  # fmt: skip
    text = " ".join(cli("task", "show", task_id(2), "-o", "table").out.split())
    assert f"flow {ORDER}, running: 1 of 5 links have ended" in text
    assert f"comes after {task_id(1)}" in text
    assert f"waited for by {task_id(4)}, {task_id(5)}" in text


def test_why_names_the_flow_and_what_waits(cli: Cli, order: Store) -> None:
    reasons = cli("task", "why", task_id(2), "--json").json["why"]["reasons"]
    assert reasons[-1]["code"] == "flow"
    assert reasons[-1]["text"] == (
        f"It is link 2 of 5 of flow {ORDER}, which is running; 2 links wait for it."
    )


def test_a_link_that_is_not_enqueued_is_explained(cli: Cli, order: Store) -> None:
    for verb in ("show", "why"):
        said = cli("task", verb, task_id(4), code=3).err
        assert f"Link 4 of flow {ORDER} is not enqueued yet" in said
        assert f"it waits for {task_id(2)} (pending), {task_id(3)} (pending)" in said
    order.raw.delete(keys.task("default", task_id(1)))
    assert "has succeeded" in cli("task", "show", task_id(1), code=3).err
    tell(order, 2, NodeState.GONE)
    order.raw.delete(keys.task("default", task_id(2)))
    assert "is gone" in cli("task", "show", task_id(2), code=3).err
    assert "no task" in cli("task", "show", task_id(99), code=3).err
