"""What the benchmarks share: a real server, a real `qd worker`, CPU times from /proc."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from qd.app.client import make_client
from qd.app.connection import Connection
from qd.client.client import Client, NewEnqueue
from qd.config.load import from_mapping
from qd.protocol import keys
from tests.support.servers import RedisServer
from tests.support.wait import eventually

ROOT = Path(__file__).parents[2]
QUEUE = "default"


def client_of(server: RedisServer) -> Client:
    settings = from_mapping({"redis": {"addrs": [server.url]}})
    return make_client(settings, Connection(settings))


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
def worker(server: RedisServer, *flags: str, log: Path, **env: str) -> Iterator[int]:
    """Run `qd worker` with two processes at the defaults and *flags*; gives its pid."""
    command = [sys.executable, "-m", "qd", "worker", "--app", "tests.bench.app", *flags]
    variables = os.environ | {"QD_REDIS__ADDRS": server.url, **env}
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=variables, stderr=out, stdout=out)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def processed(raw: redis.Redis) -> int:
    return int(raw.get(keys.processed(QUEUE)) or 0)


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and its living children, all threads."""
    total = 0.0
    for one in [pid, *children(pid)]:
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def pss_mib(pid: int) -> float:
    """Memory of a process and its children, shared pages counted once."""
    total = 0
    for one in [pid, *children(pid)]:
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def wait_ready(raw: redis.Redis, processes: int) -> None:
    """Wait until that many worker processes are shown."""
    eventually(lambda: raw.zcard(keys.SERVERS) >= processes, within=20)
