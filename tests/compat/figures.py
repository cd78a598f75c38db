"""
The figures at the end of a run: rows of asynq's check-list, and what tests have recorded.

A test records with `record_property(name, figure)`: numbers of one name are added up, texts listed. It
works under xdist as well, where the process that prints has collected no test.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tests.compat import checklist


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print them; nothing where no row was proven and nothing recorded."""
    stats = terminalreporter.stats
    reports: dict[str, list[Any]] = {
        outcome: [report for report in stats.get(outcome, []) if hasattr(report, "nodeid")]
        for outcome in ("passed", "failed", "error", "skipped")
    }
    lines = rows(reports)
    for outcome in ("passed", "failed"):
        lines += recorded(pair for report in reports[outcome] for pair in report.user_properties)
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.line(line)


def rows(reports: dict[str, list[Any]]) -> list[str]:
    """How many rows of the check-list these reports prove, and why others have no test."""
    good = {report.nodeid for report in reports["passed"] if report.when == "call"}
    bad = {
        report.nodeid for outcome, some in reports.items() if outcome != "passed" for report in some
    }
    proven = len(checklist.proven(good, bad))
    if not proven:
        return []
    return [
        f"asynq's check-list: {proven}/{len(checklist.ROWS)} rows proven in this run",
        *(f"  row {row} has no test: {why}" for row, why in checklist.unproven().items()),
    ]


def recorded(properties: Iterable[tuple[str, object]]) -> list[str]:
    """A line for each text, and one for each name with numbers."""
    sums: dict[str, int] = {}
    lines = []
    for name, figure in properties:
        if isinstance(figure, int):
            sums[name] = sums.get(name, 0) + figure
        else:
            lines.append(f"{name}: {figure}")
    return [*sorted(lines), *(f"{name}: {total:,}" for name, total in sums.items())]
