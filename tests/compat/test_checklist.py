"""The check-list names tests that exist, and leaves no row out."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.compat.checklist import FOLDER, ROWS, proven
from tests.compat.figures import recorded

HERE = Path(__file__).parent


def existing() -> set[str]:
    return {
        f"{FOLDER}{file.name}::{node.name}"
        for file in HERE.glob("test_*.py")
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_row_is_proven_by_tests_or_says_why_not() -> None:
    assert list(ROWS) == list(range(1, 45))
    known = existing()
    for number, row in ROWS.items():
        assert bool(row.tests) != bool(row.reason), number
        missing = set(row.nodes()) - known
        assert not missing, f"row {number} names tests that do not exist: {missing}"


def test_a_row_is_proven_only_if_all_variants_of_its_tests_passed() -> None:
    node = ROWS[2].nodes()[0]
    assert proven({f"{node}[a]", f"{node}[b]"}, set()) == [2]
    assert proven({f"{node}[a]"}, {f"{node}[b]"}) == []
    assert proven(set(), set()) == []


def test_figures_of_one_name_are_added_up() -> None:
    figures = [("operations", 9_000), ("fleet", "0 lost"), ("operations", 1_234)]
    assert recorded(figures) == ["fleet: 0 lost", "operations: 10,234"]
