"""How soon a task runs: on an idle worker, and on one that has yet to start; what idling costs."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.bench.measure import (
    ROOT,
    Figures,
    client_of,
    idle,
    processed,
    pss_mib,
    wait_ready,
    worker,
)
from tests.compat.asynq_build import build
from tests.support.procs import environment
from tests.support.servers import RedisServer
from tests.support.wait import eventually

_IDLE_SECONDS = 15.0


def wake_up(server: RedisServer, count: int, folder: Path) -> dict[str, Figures]:
    """Idle workers, one task at a time: from the enqueue call to the first line of the handler."""
    server.flush()
    stamps = folder / "stamps"
    found: dict[str, Figures] = {}
    raw = server.client()
    with worker(server, folder=folder, BENCH_STAMPS=str(stamps)) as pid:
        wait_ready(raw)
        for name, producer in (("qd", _qd_producer), ("Go", _go_producer)):
            stamps.write_bytes(b"")
            before = processed(raw)
            with producer(server) as send:
                for sent in range(before + 1, before + count + 1):
                    send()
                    eventually(lambda sent=sent: processed(raw) >= sent, within=10)
                    time.sleep(0.01)
            found[f"wake-up, {name} producer"] = _summary(stamps)
        found["wake-up, qd producer"]["idle round trip, ms"] = _idle_round_trip(raw)
        found["idle, 2 workers"] = idle(server, pid, _IDLE_SECONDS) | {
            "PSS, MiB, all processes": pss_mib(pid)
        }
    raw.close()
    return found


def many_queues(server: RedisServer, queues: int, folder: Path) -> Figures:
    """An idle worker that serves many queues."""
    server.flush()
    settings = folder / "many.yaml"
    lines = [f"  queue{n}: 1" for n in range(queues)]
    settings.write_text("\n".join(["queues:", *lines, "defaults:", "  queue: queue0", ""]))
    raw = server.client()
    with worker(server, "--config", str(settings), folder=folder) as pid:
        wait_ready(raw)
        time.sleep(2)
        figures = idle(server, pid, _IDLE_SECONDS)
    raw.close()
    return figures


def start_up(server: RedisServer, rounds: int, folder: Path) -> Figures:
    """From the call that starts `qd worker` to the first line of a handler, in ms."""
    server.flush()
    stamps = folder / "started"
    stamps.write_bytes(b"")
    client, raw = client_of(server), server.client()
    for n in range(1, rounds + 1):
        client.enqueue("stamp", {"sent_ns": time.time_ns()})
        with worker(server, folder=folder, BENCH_STAMPS=str(stamps)):
            eventually(lambda n=n: processed(raw) >= n, within=20)
    client.close()
    raw.close()
    return _summary(stamps) | {"imports, ms": statistics.median(_import() for _ in range(rounds))}


def _import() -> float:
    """How long Python takes to start and import what a supervisor imports before it forks, in ms."""
    program = "import qd.cli.main, qd.cli.worker, qd.app.run, qd.app.children"
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, env=environment())
    return (time.perf_counter() - began) * 1000


def _idle_round_trip(raw: redis.Redis) -> float:
    """A single PING after a moment of sleep, in ms, as the bare client makes it."""
    took = []
    for _ in range(50):
        time.sleep(0.02)
        began = time.perf_counter()
        raw.ping()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


@contextmanager
def _qd_producer(server: RedisServer) -> Iterator[Callable[[], None]]:
    client = client_of(server)

    def send() -> None:
        client.enqueue("stamp", {"sent_ns": time.time_ns()})

    yield send
    client.close()


@contextmanager
def _go_producer(server: RedisServer) -> Iterator[Callable[[], None]]:
    command = [str(build("asynqctl")), "stamp", "-redis", f"127.0.0.1:{server.port}"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0)
    assert process.stdin is not None
    pipe = process.stdin

    def send() -> None:
        pipe.write(b"\n")

    yield send
    pipe.close()
    process.wait(10)


def _summary(stamps: Path) -> Figures:
    took = sorted(int(line) / 1e6 for line in stamps.read_text().split())
    return {
        "p50 ms": statistics.median(took),
        "p99 ms": took[max(int(len(took) * 0.99) - 1, 0)],
        "max ms": took[-1],
    }
