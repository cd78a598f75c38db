"""
What a person has to do at three in the morning, who knows no more than `--help`.

Each with real processes, and in three commands at the most. That a queue that was paused is seen as
paused by asynq's own command is in tests/compat/test_operators.py.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import ENVIRONMENT, Store
from tests.support.procs import running
from tests.support.wait import eventually

pytestmark = pytest.mark.process

_APP = """
import asyncio
import qd

app = qd.App("night")

@app.task("hold")
async def hold() -> None:
    await asyncio.sleep(600)

@app.task("work")
async def work() -> None: ...
"""

Qd = Callable[[str], str]


@pytest.fixture
def qd(redis_url: str) -> Qd:
    """A shell: takes a command line and gives what it has shown; more than three are too many."""
    lines: list[str] = []

    def run(line: str) -> str:
        lines.append(line)
        assert len(lines) <= 3, f"three commands are enough: {lines}"
        done = subprocess.run(
            [sys.executable, "-m", *line.split()],
            env={**ENVIRONMENT, "QD_REDIS__ADDRS": redis_url},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def worker(redis_url: str, tmp_path: Path) -> Iterator[None]:
    (tmp_path / "night.py").write_text(_APP)
    env = {**ENVIRONMENT, "QD_REDIS__ADDRS": redis_url}
    env["PYTHONPATH"] += os.pathsep + str(tmp_path)
    command = [sys.executable, "-m", "qd", "worker", "--app", "night", "--processes", "2"]
    with running(*command, env=env) as proc:
        proc.err.wait("all 3 children are ready", within=30)
        yield


def test_why_is_this_task_stuck(qd: Qd, worker: None, store: Store) -> None:
    """It is in a queue that somebody has paused."""
    store.task("work", queue="low")
    _quietly(store, "queue pause low")  # A colleague, at midnight.
    store.task("work", task_id="invoice-17", queue="low")
    assert re.search(r"\btask +List, explain", qd("qd --help"))
    said = qd("qd task why invoice-17")
    assert "Queue low was paused" in said
    assert "qd queue resume low" in said


def test_where_does_this_task_run(qd: Qd, worker: None, store: Store) -> None:
    made = store.task("hold").id
    eventually(lambda: store.state(made) == "active", within=20)
    assert "where it runs" in qd("qd task why --help")
    said: list[str] = []

    def shown() -> bool:
        # A worker shows what it runs with its next heartbeat; a person waits and asks again.
        said[:] = [_quietly(store, f"task why {made[:8]}")]
        return "It runs on" in said[0]

    eventually(shown, within=30)
    where = re.search(r"It runs on (\S+), pid (\d+)", said[0])
    assert where
    assert made in qd(f"qd server show {where[1]}:{where[2]}")


def test_yesterdays_timeouts_are_brought_back_slowly(qd: Qd, store: Store) -> None:
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    noon, before = midnight - timedelta(hours=12), midnight - timedelta(hours=36)
    for number in range(6):
        store.dead(f"y{number}", error="TimeoutError: bank", ago=(now - noon).total_seconds())
    store.dead("other", error="ValueError: iban", ago=(now - noon).total_seconds())
    store.dead("older", error="TimeoutError: bank", ago=(now - before).total_seconds())
    store.dead("today", error="TimeoutError: bank", ago=0)
    page = qd("qd dlq requeue --help")
    (example,) = [line.strip() for line in page.splitlines() if "--since yesterday" in line]
    assert example.endswith("--rate 50/s")
    assert "6 tasks would be" in qd(f"{example} --dry-run")
    done = json.loads(qd(f"{example} -y --json"))
    assert (done["matched"], done["done"]) == (6, 6)
    assert {store.state(one) for one in ("other", "older", "today")} == {"archived"}
    assert {store.state(f"y{number}") for number in range(6)} == {"pending"}


def _quietly(store: Store, line: str) -> str:
    """A command that is not counted: the same again, after a moment."""
    from tests.cli.conftest import Cli

    return Cli(store.url)(*line.split(), "-o", "table").out
