"""The table of running tasks that a child shares with its parent."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from qd.supervisor.running import RunningTable


@pytest.fixture
def table() -> Iterator[RunningTable]:
    with closing(RunningTable()) as table:
        yield table


def test_what_a_dead_child_was_running_is_there_with_its_time(table: RunningTable) -> None:
    pid = os.fork()
    if pid == 0:
        table.start("over", 5.0)
        table.start("long", 30.0)
        table.start("späte", 20.0)
        table.end("over")
        os._exit(0)
    os.waitpid(pid, 0)
    assert sorted(table.read()) == ["long", "späte"]
    assert table.overdue(20.0) == ["späte"]
    assert table.next_overdue(20.0) == 30.0
    assert table.next_overdue(30.0) is None


def test_it_tells_whether_any_task_came_to_its_end(table: RunningTable) -> None:
    assert not table.any_ended
    table.start("one", 5.0)
    assert not table.any_ended
    table.end("one")
    assert table.any_ended
    table.start("two", 5.0)
    table.start("three", 5.0)
    table.end("three")
    assert table.any_ended


def test_that_a_task_came_to_its_end_is_known_while_the_next_has_its_place(
    table: RunningTable,
) -> None:
    table.start("first", 1.0)
    table.end("first")
    table.start("second", 1.0)
    assert table.any_ended
    assert table.read() == ["second"]


def test_what_does_not_fit_is_left_out(table: RunningTable) -> None:
    table.start("x" * 255, 5.0)
    table.start("y" * 256, 5.0)
    assert table.read() == ["x" * 255]
    for number in range(600):
        table.start(str(number), 5.0)
    assert len(table.read()) == 512
    table.end("599")
    table.end("y" * 256)
    assert len(table.read()) == 512


def test_a_name_that_runs_twice_is_there_until_both_have_ended(table: RunningTable) -> None:
    table.start("again", math.inf)
    table.start("again", 5.0)
    assert table.overdue(6.0) == ["again"]
    table.end("again")
    assert table.read() == ["again"]
    assert (table.overdue(6.0), table.next_overdue(0.0)) == ([], None)
    table.end("again")
    table.end("again")
    assert table.read() == []


def test_a_place_is_used_again_without_traces_of_the_one_before(table: RunningTable) -> None:
    table.start("a long name", 5.0)
    table.end("a long name")
    table.start("new", 7.0)
    assert table.read() == ["new"]
    assert table.overdue(6.0) == []
