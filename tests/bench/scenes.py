"""One function for each figure. Each starts from an empty server and returns what it measured."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

from qd.broker.connect import open_link
from qd.broker.endpoint import parse_addresses
from qd.client.ids import new_id
from qd.protocol import codec
from qd.protocol.message import TaskMessage, Terms
from qd.protocol.ops import endings, tasks
from qd.protocol.ops.endings import Ending, Held
from qd.protocol.ops.tasks import NewTask
from tests.bench.measure import (
    QUEUE,
    client_of,
    cpu_seconds,
    fill,
    processed,
    pss_mib,
    wait_ready,
    worker,
)
from tests.support.servers import RedisServer
from tests.support.wait import eventually

_DAY = "2026-01-01"


def ceiling(server: RedisServer, count: int) -> float:
    """Tasks a second through bare batches of 100: enqueue, dequeue, done, one after the other."""
    link = open_link(parse_addresses([server.url]))
    terms = Terms(queue=QUEUE, max_retry=25, timeout=1800)
    started = time.perf_counter()
    for _ in range(0, count, 100):
        ids = [new_id() for _ in range(100)]
        new = [
            NewTask(one, codec.encode_task(TaskMessage("noop", b'{"x":1}', one, terms)))
            for one in ids
        ]
        link.execute(tasks.enqueue(QUEUE, new, now_ns=time.time_ns()))
        until = int(time.time()) + 15
        link.execute(tasks.dequeue(QUEUE, count=100, owner="o", nonce=new_id(), lease_until=until))
        ended = [Ending(Held(one, until, until)) for one in ids]
        link.execute(endings.done(QUEUE, "o", ended, day=_DAY, now=int(time.time())))
    rate = count / (time.perf_counter() - started)
    link.close()
    return rate


def drain(
    server: RedisServer, task_type: str, count: int, slots: int, log: Path
) -> dict[str, float]:
    """Drain a full queue with two worker processes at the defaults; logging at info to a file."""
    fill(server, task_type, count)
    raw = server.client()
    server_cpu = cpu_seconds(server.pid)
    with worker(server, "--processes", "2", "--concurrency", str(slots), log=log) as pid:
        eventually(lambda: processed(raw) > 0, within=30)
        first, started, cpu = processed(raw), time.perf_counter(), cpu_seconds(pid)
        eventually(lambda: processed(raw) >= count, within=300)
        took = time.perf_counter() - started
        done = count - first
        return {
            "tasks/s": done / took,
            "worker us/task": (cpu_seconds(pid) - cpu) / done * 1e6,
            "redis us/task": (cpu_seconds(server.pid) - server_cpu) / count * 1e6,
        }


def wake_up(server: RedisServer, count: int, folder: Path) -> dict[str, float]:
    """Idle workers, one task at a time: enqueue call to first line of the handler, in ms."""
    stamps = folder / "stamps"
    stamps.touch()
    raw, client = server.client(), client_of(server)
    with worker(server, "--processes", "2", log=folder / "log", BENCH_STAMPS=str(stamps)) as pid:
        wait_ready(raw, 2)
        for sent in range(1, count + 1):
            client.enqueue("stamp", {"sent_ns": time.time_ns()})
            eventually(lambda sent=sent: processed(raw) >= sent, within=10)
            time.sleep(0.01)
        idle_cpu, idle_from = cpu_seconds(pid), time.perf_counter()
        commands = int(raw.info("stats")["total_commands_processed"])
        time.sleep(10)
        idle = (cpu_seconds(pid) - idle_cpu) / (time.perf_counter() - idle_from) / 4
        sent_idle = int(raw.info("stats")["total_commands_processed"]) - commands
        memory = pss_mib(pid)
    client.close()
    took = sorted(int(line) / 1e6 for line in stamps.read_text().split())
    return {
        "p50 ms": statistics.median(took),
        "p99 ms": took[int(len(took) * 0.99) - 1],
        "idle % of a core per process": idle * 100,
        "idle commands/s per process": sent_idle / 10 / 3,
        "idle PSS MiB, all processes": memory,
    }


def enqueue(server: RedisServer, count: int) -> dict[str, float]:
    """Enqueue one by one and in calls of 1,000, from one synchronous process."""
    client = client_of(server)
    started = time.perf_counter()
    for n in range(count):
        client.enqueue("noop", {"x": n})
    single = count / (time.perf_counter() - started)
    client.close()
    return {"one by one/s": single, "enqueue_many of 1,000/s": fill(server, "noop", 20 * count)}


def machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown CPU",
    )
    return f"{os.cpu_count()} x {model}"
