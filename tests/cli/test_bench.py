"""`qd bench`: figures of a real worker, a verdict, and nothing left behind."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
import redis

from qd.protocol import keys
from tests.cli.conftest import ENVIRONMENT, Cli
from tests.support.procs import descendants_of, running, wait_until_gone
from tests.support.wait import eventually

_SMALL = ("--tasks", "400", "--processes", "1", "--concurrency", "5")

_APP = """
import asyncio
import qd

app = qd.App("own")

@app.task("nap")
async def nap(seconds: float) -> None:
    await asyncio.sleep(seconds)
    if seconds > 0.01:
        raise OSError("overslept")
"""


@pytest.fixture(autouse=True)
def _own_app(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the present folder, which is where the worker looks."""
    Path("own.py").write_text(_APP)
    monkeypatch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])


def left_behind(raw: redis.Redis) -> list[str]:
    return [one for one in map(str, raw.keys("*")) if "qd-bench" in one]


def test_bench_measures_and_leaves_nothing_behind(cli: Cli, raw: redis.Redis) -> None:
    found = cli("bench", *_SMALL, "--json").json["bench"]
    assert found["plan"] == {"processes": 1, "concurrency": 5, "tasks": 400, "seconds": 10.0}
    assert found["nothing"]["tasks"] == 400
    assert found["nothing"]["failed"] == 0
    assert found["nothing"]["rate"] > 0
    assert found["round_trip"] > 0
    assert 0 < found["latency"][0] <= found["latency"][1]
    assert len(found["verdict"]) == 1
    assert left_behind(raw) == []
    assert raw.smembers(keys.QUEUES) == set()


def test_bench_runs_the_own_handler_and_says_what_it_costs(cli: Cli, raw: redis.Redis) -> None:
    done = cli(
        "bench", *_SMALL, "--app", "own", "--type", "nap", "--payload", '{"seconds": 0.02}',
        "--seconds", "1s",
    )  # fmt: skip
    assert "Your handler is the limit" in done.out
    assert "tasks failed" in done.out
    assert [line.split("  ")[0] for line in done.lines] == [
        "worker",
        "round trip",
        "latency, idle worker",
        "enqueue, in thousands",
        "run, nothing to do",
        "run, your handler",
        "verdict",
    ]
    assert left_behind(raw) == []


def test_an_interrupted_bench_leaves_nothing_behind(redis_url: str, raw: redis.Redis) -> None:
    command = [sys.executable, "-m", "qd", "--redis", redis_url, "bench", "--tasks", "1000000"]
    with running(*command) as proc:
        eventually(lambda: any(b"qd-bench" in one for one in raw.smembers(keys.QUEUES)), within=20)
        below = descendants_of(proc.pid)
        assert below, "the worker runs"
        proc.signal(signal.SIGINT)
        assert proc.wait(20) == 130
    for pid in below:
        wait_until_gone(pid)
    assert left_behind(raw) == []


def test_a_worker_that_does_not_start_is_quoted(cli: Cli, raw: redis.Redis) -> None:
    Path("broken.py").write_text("1 / 0")
    done = cli("bench", *_SMALL, "--app", "broken", "--type", "nap", code=1)
    assert "the worker did not start" in done.err
    assert "ZeroDivisionError" in done.err
    assert left_behind(raw) == []


def test_a_type_without_handler_is_refused(cli: Cli, raw: redis.Redis) -> None:
    done = cli("bench", *_SMALL, "--app", "own", "--type", "snore", code=2)
    assert "no handler for tasks of type 'snore'" in done.err
    assert left_behind(raw) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--payload", "{}"), "--payload goes with --type"),
        (("--type", "nap"), "No application for --type nap"),
        (("--type", "nap", "--app", "nowhere"), "there is no module 'nowhere'"),
    ],
)
def test_half_of_a_load_is_refused(cli: Cli, words: tuple[str, ...], said: str) -> None:
    assert said in cli("bench", *words, code=2).err
