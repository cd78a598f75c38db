"""
Nothing becomes dearer unnoticed: counts per task are held against those in `costs.json`.

What is counted is the same on every machine: calls of scripts, commands (those inside of scripts
included), function calls and byte code instructions of qd's Python code. The latter two are on
record for each version of Python by itself, because compilers differ; where a version is not on
record, only Redis is compared.
"""

from __future__ import annotations

import asyncio
import json
import platform
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from qd.app.client import make_client
from qd.client.client import Client, NewEnqueue
from qd.observability import logs
from qd.protocol import constants
from tests.bench.cost import Drain, PythonCounter, RedisCounter
from tests.runtime.lab import Lab

_KEPT = Path(__file__).with_name("costs.json")
_PYTHON = "Python {}.{}".format(*platform.python_version_tuple()[:2])
_TASKS = 2000
_TRACED = 1000
"""Tasks in whose run each instruction is counted, which takes far longer than to carry it out."""

_ALLOWED = 1.05

Check = Callable[[str, RedisCounter, PythonCounter], None]


@pytest.fixture(autouse=True)
def _without_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many heartbeats fall into a run is a matter of the machine."""
    monkeypatch.setattr(constants, "HEARTBEAT", 3600)


@pytest.fixture
def check(request: pytest.FixtureRequest) -> Check:
    """Compare what a scene has cost with what is on record; with --update-costs: record it."""

    def check(scene: str, server: RedisCounter, python: PythonCounter) -> None:
        found = {
            "Redis": {
                "calls of scripts": server.scripts / _TASKS,
                "commands": server.commands / _TASKS,
            },
            _PYTHON: {
                "calls": python.calls / python.tasks,
                "instructions": python.instructions / python.tasks,
            },
        }
        kept = json.loads(_KEPT.read_text())
        if request.config.getoption("--update-costs", default=False):
            for part, figures in found.items():
                rounded = {name: round(value, 3) for name, value in figures.items()}
                kept.setdefault(part, {})[scene] = rounded
            _KEPT.write_text(json.dumps(kept, indent=2) + "\n")
            return
        dearer = [
            f"{scene}: {value:.3f} {name} a task, {allowed:.3f} on record ({part})"
            for part, figures in found.items()
            for name, value in figures.items()
            if value > _ALLOWED * (allowed := kept.get(part, {}).get(scene, {}).get(name, value))
        ]
        assert not dearer, (
            "\n".join(dearer)
            + "\nIf it is worth it: pytest tests/bench/cost_scenes.py --update-costs"
        )

    return check


@pytest.fixture
def client(lab: Lab) -> Client:
    client = make_client(lab.app.settings, lab.app.connection)
    client.enqueue("work")  # opens the connection, makes the server know the script
    return client


async def test_a_task_that_succeeds_costs_no_more(
    lab: Lab, raw: redis.Redis, check: Check, log_to_file: None
) -> None:
    check("success", *await _drained(Drain(lab, raw), raw))


async def test_a_task_that_fails_costs_no_more(
    lab: Lab, raw: redis.Redis, check: Check, log_to_file: None
) -> None:
    check("failure, to be retried", *await _drained(Drain(lab, raw, fails=True), raw))


async def _drained(drain: Drain, raw: redis.Redis) -> tuple[RedisCounter, PythonCounter]:
    await drain.start()
    drain.prepare(_TASKS)
    with RedisCounter(raw) as server:
        await drain.run()
    # Again, and fewer, because what is traced is slower.
    drain.prepare(_TRACED)
    with PythonCounter(_TRACED) as python:
        await drain.run()
    return server, python


def test_enqueueing_one_by_one_costs_no_more(
    client: Client, raw: redis.Redis, check: Check
) -> None:
    with RedisCounter(raw) as server, PythonCounter(_TASKS) as python:
        for n in range(_TASKS):
            client.enqueue("work", {"x": n})
    client.close()
    check("enqueue, one by one", server, python)


def test_enqueueing_many_costs_no_more(client: Client, raw: redis.Redis, check: Check) -> None:
    new = [NewEnqueue("work", {"x": n}) for n in range(_TASKS)]
    with RedisCounter(raw) as server, PythonCounter(_TASKS) as python:
        client.enqueue_many(new)
    client.close()
    check("enqueue_many", server, python)


async def test_enqueueing_from_a_hundred_coroutines_costs_no_more(
    lab: Lab, raw: redis.Redis, check: Check
) -> None:
    async def turn() -> None:
        await asyncio.gather(*(lab.enqueue("work", {"x": n}) for n in range(100)))

    await turn()
    with RedisCounter(raw) as server, PythonCounter(_TASKS) as python:
        for _ in range(_TASKS // 100):
            await turn()
    check("aenqueue, 100 at once", server, python)


@pytest.fixture
def log_to_file(tmp_path: Path, _logging_as_before: None) -> None:
    """Lines about tasks, as a worker writes them by default."""
    logs.set_up("info", "json", str(tmp_path / "log"), role="worker")
