"""
Who drains a queue of no-op tasks: qd, asynq in Go, and what PyPI has.

Each in the best settings its documentation gives for short tasks, with two processes where it has
processes. `BENCH_REDIS` and `BENCH_COUNTS` tell the programs in `peers/` where Redis is and where
their handlers count.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.bench.measure import ROOT, fill, processed
from tests.bench.peers.counting import counted
from tests.compat.asynq_build import build
from tests.support.servers import RedisServer

VENV = ROOT / "build" / "peers-venv"
REQUIREMENTS = Path(__file__).parent / "peers" / "requirements.txt"


class Contender(Protocol):
    """One system in one setting. *tasks* of a round take it some seconds."""

    name: str
    settings: str
    tasks: int
    copies: int

    def fill(self, server: RedisServer, count: int, folder: Path) -> None:
        """Enqueue *count* tasks."""

    def command(self, server: RedisServer) -> list[str]:
        """The worker's command line; *copies* of it are started."""

    def env(self, server: RedisServer, folder: Path) -> dict[str, str]:
        """What the worker wants in its environment."""

    def done(self, server: RedisServer, folder: Path) -> int:
        """How many tasks have been run so far."""


@dataclass(frozen=True)
class Qd:
    name: str
    task_type: str
    tasks: int
    slots: int = 100
    copies: int = 1

    @property
    def settings(self) -> str:
        return f"2 processes x {self.slots} slots, all at the defaults, a log line per task"

    def fill(self, server: RedisServer, count: int, folder: Path) -> None:
        fill(server, self.task_type, count)

    def command(self, server: RedisServer) -> list[str]:
        words = ["worker", "--app", "tests.bench.app", "--processes", "2"]
        return [sys.executable, "-m", "qd", *words, "--concurrency", str(self.slots)]

    def env(self, server: RedisServer, folder: Path) -> dict[str, str]:
        return {"QD_REDIS__ADDRS": server.tcp_url}

    def done(self, server: RedisServer, folder: Path) -> int:
        with server.client() as raw:
            return processed(raw)


@dataclass(frozen=True)
class Asynq:
    name: str = "asynq 0.26 (Go)"
    tasks: int = 40_000
    copies: int = 1
    settings: str = "1 process, GOMAXPROCS 2, concurrency 100, no log lines"

    def fill(self, server: RedisServer, count: int, folder: Path) -> None:
        fill(server, "ok", count)

    def command(self, server: RedisServer) -> list[str]:
        words = ["work", "-redis", f"127.0.0.1:{server.port}", "-concurrency", "100"]
        return [str(build("asynqctl")), *words]

    def env(self, server: RedisServer, folder: Path) -> dict[str, str]:
        return {}

    def done(self, server: RedisServer, folder: Path) -> int:
        with server.client() as raw:
            return processed(raw)


@dataclass(frozen=True)
class Peer:
    """A system from PyPI; its program is `peers/<module>.py`. `URL` in *words* is Redis."""

    name: str
    module: str
    tasks: int
    words: tuple[str, ...]
    settings: str
    extra: Mapping[str, str] = field(default_factory=dict)
    copies: int = 1

    def fill(self, server: RedisServer, count: int, folder: Path) -> None:
        program = f"from tests.bench.peers import {self.module} as peer; peer.fill({count})"
        command = [str(VENV / "bin/python"), "-c", program]
        subprocess.run(command, cwd=ROOT, env=self.env(server, folder), check=True)

    def command(self, server: RedisServer) -> list[str]:
        program, *words = self.words
        url = f"{server.tcp_url}/0"
        return [str(VENV / "bin" / program), *(word.replace("URL", url) for word in words)]

    def env(self, server: RedisServer, folder: Path) -> dict[str, str]:
        return {
            "PYTHONPATH": str(ROOT),
            "BENCH_REDIS": f"{server.tcp_url}/0",
            "BENCH_COUNTS": str(folder),
            **self.extra,
        }

    def done(self, server: RedisServer, folder: Path) -> int:
        return counted(folder)


QD = (
    Qd("qd, async handler", "noop", 150_000),
    Qd("qd, async handler, 2 x 10 slots", "noop", 100_000, slots=10),
    Qd("qd, plain def handler", "plain", 100_000),
)

_APP = "tests.bench.peers"

PEERS = (
    Peer(
        "Dramatiq",
        "dramatiq",
        30_000,
        ("dramatiq", f"{_APP}.dramatiq", "-p", "2", "-t", "8"),
        "2 processes x 8 threads, prefetch 1,000",
        {"dramatiq_queue_prefetch": "1000"},
    ),
    Peer(
        "Taskiq, list",
        "taskiq",
        20_000,
        ("taskiq", "worker", f"{_APP}.taskiq:broker", "--workers", "2", "--log-level", "WARNING"),
        "2 processes x 100 tasks, uvloop; loses tasks when killed",
    ),
    Peer(
        "Taskiq, stream",
        "taskiq",
        20_000,
        ("taskiq", "worker", f"{_APP}.taskiq:broker", "--workers", "2", "--log-level", "WARNING"),
        "2 processes x 100 tasks, uvloop, reads of 100",
        {"BENCH_STREAM": "1"},
    ),
    Peer(
        "huey",
        "huey",
        15_000,
        ("huey_consumer", f"{_APP}.huey.huey", "-w", "2", "-k", "process", "-q"),
        "2 processes, no results, quiet; loses tasks when killed",
    ),
    Peer(
        "SAQ",
        "saq",
        10_000,
        ("saq", f"{_APP}.saq.settings", "--workers", "2", "-q"),
        "2 processes x 100 jobs, results dropped, quiet",
    ),
    Peer(
        "Celery",
        "celery",
        5_000,
        (
            "celery", "-A", f"{_APP}.celery:app", "worker", "-c", "2", "-l", "WARNING",
            "--without-gossip", "--without-mingle", "--without-heartbeat",
        ),
        "prefork, 2 processes, prefetch 128, no results, acks_late",
        {"BENCH_ACKS_LATE": "1"},
    ),
    Peer(
        "arq",
        "arq",
        4_000,
        ("arq", f"{_APP}.arq.WorkerSettings"),
        "2 processes x 100 jobs, polls every 10 ms, no results",
        copies=2,
    ),
    Peer(
        "RQ",
        "rq",
        1_500,
        ("rq", "worker-pool", "default", "-n", "2", "-w", "rq.SimpleWorker", "-q", "-u", "URL"),
        "2 workers that do not fork, no results, quiet",
    ),
)  # fmt: skip


def install_peers() -> None:
    """Make the environment of the peers, if it is not there or its list has changed."""
    mark = VENV / "requirements.txt"
    if mark.exists() and mark.read_bytes() == REQUIREMENTS.read_bytes():
        return
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    pip = [str(VENV / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", str(REQUIREMENTS)], check=True)
    mark.write_bytes(REQUIREMENTS.read_bytes())
