"""
Fixtures of the compatibility suites, and the figures at the end of their run.

    asynq           the real asynq on this test's empty server; skips where it cannot be built
    steps           a session of it, kept for the whole test
    peer            qd on the same server
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compat import checklist
from tests.compat.asynq import Asynq, Steps
from tests.compat.asynq_build import GoUnavailableError, build, program
from tests.compat.peer import Peer
from tests.support.servers import RedisServer


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test, whose time limit a cold compilation would exceed."""
    wanted = any("asynq" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not session.config.option.collectonly:
        # The tests themselves say why they are skipped.
        with contextlib.suppress(GoUnavailableError):
            build("asynqctl")
            build("asynq")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was proven: rows of the check-list, and the figures that tests have recorded."""
    reports: dict[str, list[Any]] = {
        outcome: [
            report
            for report in terminalreporter.stats.get(outcome, [])
            if getattr(report, "nodeid", "").startswith("tests/compat/")
        ]
        for outcome in ("passed", "failed", "error", "skipped")
    }
    if not any(reports.values()):
        return
    good = {report.nodeid for report in reports["passed"] if report.when == "call"}
    bad = {
        report.nodeid for outcome, some in reports.items() if outcome != "passed" for report in some
    }
    rows = checklist.proven(good, bad)
    terminalreporter.section("compatibility with asynq")
    terminalreporter.line(f"check-list: {len(rows)}/{len(checklist.ROWS)} rows proven in this run")
    for row, reason in checklist.unproven().items():
        terminalreporter.line(f"  row {row} has no test: {reason}")
    for report in reports["passed"]:
        for name, figures in report.user_properties:
            terminalreporter.line(f"{name}: {figures}")


@pytest.fixture
def asynq(server: RedisServer) -> Asynq:
    program("asynqctl")
    return Asynq(server.url, tcp=f"127.0.0.1:{server.port}")


@pytest.fixture
def steps(asynq: Asynq) -> Iterator[Steps]:
    with asynq.steps() as session:
        yield session


@pytest.fixture
def peer(server: RedisServer, tmp_path: Path) -> Iterator[Peer]:
    with contextlib.closing(Peer([server.url], tmp_path)) as made:
        yield made
