"""What the benchmarks share: a real `qd worker`, tasks in its queue, CPU times from /proc."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis

from qd.app.client import make_client
from qd.app.connection import Connection
from qd.broker.connect import open_link
from qd.broker.endpoint import parse_addresses
from qd.broker.link import Link
from qd.client.client import Client, NewEnqueue
from qd.config.load import from_mapping
from qd.protocol import keys
from qd.protocol.ops.tasks import announce
from tests.support.procs import cpu_seconds_of, descendants_of, environment
from tests.support.servers import RedisServer
from tests.support.wait import eventually

ROOT = Path(__file__).parents[2]
QUEUE = "default"
PROCESSES = 4
"""Supervisor, two workers, scheduler."""

Figures = dict[str, float]


def client_of(server: RedisServer) -> Client:
    settings = from_mapping({"redis": {"addrs": [server.tcp_url]}})
    return make_client(settings, Connection(settings))


@contextmanager
def link_to(server: RedisServer) -> Iterator[Link]:
    """A connection with which single operations are measured, open already."""
    link = open_link(parse_addresses([server.tcp_url]))
    link.execute(announce([QUEUE]))
    yield link
    link.close()


def fill(server: RedisServer, task_type: str, count: int) -> float:
    """Enqueue tasks in calls of 1,000; return tasks per second."""
    client = client_of(server)
    started = time.perf_counter()
    for first in range(0, count, 1000):
        last = min(first + 1000, count)
        client.enqueue_many([NewEnqueue(task_type, {"x": n}) for n in range(first, last)])
    rate = count / (time.perf_counter() - started)
    client.close()
    return rate


@contextmanager
def started(
    command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
) -> Iterator[int]:
    """A program for the time of a `with`; gives its pid. Ends it with SIGTERM, its children too."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            list(command),
            cwd=ROOT,
            env=environment(**(env or {})),
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def worker(server: RedisServer, *flags: str, folder: Path, **env: str) -> Iterator[int]:
    """Run `qd worker` with two processes, the defaults and *flags*; gives its pid."""
    command = [sys.executable, "-m", "qd", "worker", "--app", "tests.bench.app"]
    command += ["--processes", "2", *flags]
    variables = {"QD_REDIS__ADDRS": server.tcp_url, **env}
    with started(command, folder / "qd.log", variables) as pid:
        yield pid


def processed(raw: redis.Redis) -> int:
    return int(raw.get(keys.processed(QUEUE)) or 0)


def cpu_seconds(*pids: int) -> float:
    """CPU time of processes and all that live below them, all threads."""
    everyone = [one for pid in pids for one in (pid, *descendants_of(pid))]
    return sum(cpu_seconds_of(one) for one in everyone)


def pss_mib(pid: int) -> float:
    """Memory of a process and its children, shared pages counted once."""
    total = 0
    for one in [pid, *descendants_of(pid)]:
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def wait_ready(raw: redis.Redis, processes: int = 2) -> None:
    """Wait until that many worker processes are shown."""
    eventually(lambda: raw.zcard(keys.SERVERS) >= processes, within=20)


def idle(server: RedisServer, pid: int, seconds: float) -> Figures:
    """What a worker that has nothing to do costs, per process: CPU, and what it sends to Redis."""
    raw = server.client()
    with raw.monitor() as monitor:
        # A connection of its own tells when enough is heard; the monitor only reads.
        before, began = cpu_seconds(pid), time.perf_counter()
        time.sleep(seconds)
        took = time.perf_counter() - began
        cpu = (cpu_seconds(pid) - before) / took
        raw.echo("enough")
        heard = []
        for event in monitor.listen():
            if event["command"].startswith("ECHO"):
                break
            heard.append(event["client_type"])
    raw.close()
    return {
        "idle, % of a core per process": cpu / PROCESSES * 100,
        "idle, commands sent/s per process": sum(one != "lua" for one in heard) / took / PROCESSES,
        "idle, commands in scripts/s per process": sum(one == "lua" for one in heard)
        / took
        / PROCESSES,
    }
