"""The clock of qd: the machine's, or one that stands still."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import qd
from qd import clock

PACKAGE = Path(qd.__file__).parent

# They have to do with the machine, whatever time it is for the tasks; a kit runs none of them.
BY_THE_MACHINE = {
    "clock.py",
    "cli",
    "supervisor",
    "monitor",
    "observability",
    "examples",
    "testing",
}


@pytest.fixture(autouse=True)
def going() -> Iterator[None]:
    yield
    clock.go_on()


def test_it_is_the_clock_of_the_machine() -> None:
    assert not clock.stands_still()
    before = time.time()
    assert before <= clock.now() <= clock.running() <= clock.now_ns() / 1e9 + 1 <= time.time() + 1


def test_it_stands_where_it_was_stopped() -> None:
    clock.stand_still(1_000_000)
    assert clock.stands_still()
    assert [clock.now(), clock.now()] == [1e6, 1e6]
    assert clock.now_ns() == 1_000_000 * 10**9


def test_what_takes_its_time_goes_on_from_there() -> None:
    clock.stand_still(1_000_000)
    first = clock.running()
    while clock.running() == first:
        pass
    assert 1e6 <= first < clock.running() < 1e6 + 60


def test_it_goes_on_with_the_time_of_the_machine() -> None:
    clock.stand_still(1_000_000)
    clock.go_on()
    assert not clock.stands_still()
    assert clock.now() == pytest.approx(time.time(), abs=60)


def test_nothing_that_a_kit_runs_asks_the_machine() -> None:
    asking = []
    for path in PACKAGE.rglob("*.py"):
        where = path.relative_to(PACKAGE)
        if where.parts[0] in BY_THE_MACHINE or where.name.startswith("bench"):
            continue
        asking += [
            f"{where}:{node.lineno}"
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and f"{node.value.id}.{node.attr}" in ("time.time", "time.time_ns", "datetime.now")
        ]
    assert asking == [], "use qd.clock"
