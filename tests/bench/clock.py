"""
`make clock`: how exact the clock is, and how it bears a million delayed tasks.

    python -m tests.bench.clock [dst] [flood] [punctual] [idle]

Prints each target with what was found. That ticks survive kills and changes is for `make chaos`.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import statistics
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from qd.client.client import NewEnqueue
from qd.handlers.options import TaskOptions
from qd.policy.cron import parse
from qd.protocol import keys
from tests.bench.measure import client_of, started, wait_ready, worker
from tests.bench.report import Row
from tests.bench.scenes import play
from tests.support.clock_oracle import YEARS, ZONES, changes, expected, watch, year
from tests.support.misfire_oracle import differences
from tests.support.procs import children_of, cpu_seconds_of
from tests.support.servers import RedisServer
from tests.support.wait import eventually

_LATER = 3600
_SLOW_MS = 5.0


def dst(_server: RedisServer, _folder: Path, scale: float) -> list[Row]:
    """Every minute of the twenty years in eight zones; takes some ten minutes of CPU."""
    jobs = [(zone, n) for zone in ZONES for n in range(max(1, int(YEARS * scale)))]
    with multiprocessing.Pool() as pool:
        found = pool.starmap(_one_year, jobs)
        misfires = pool.map(_misfires, ZONES)
    ticks, wrong = (sum(part) for part in zip(*found, strict=True))
    return [
        Row(
            f"times due, {len(ZONES)} zones x {len(jobs) // len(ZONES)} years, differences",
            "0",
            f"{wrong} of {ticks:,}",
            not wrong,
        ),
        Row("ticks made up for after outages, differences", "0", f"{sum(misfires)}", not sum(misfires)),
    ]  # fmt: skip


def _one_year(zone: str, number: int) -> tuple[int, int]:
    start, end = year(number)
    ticks = wrong = 0
    for (spec, policy), due in expected(list(watch(zone, start, end))).items():
        found = list(parse(spec, timezone=zone, dst=policy).between(start, end))
        ticks += len(due)
        wrong += len(set(found) ^ set(due)) + (sorted(set(found)) != found)
    return ticks, wrong


def _misfires(zone: str) -> int:
    around = timedelta(hours=36)
    return sum(len(list(differences(zone, one - around, one + around))) for one in changes(zone))


def flood(server: RedisServer, folder: Path, scale: float) -> list[Row]:
    """A tenth of all delayed tasks is due in one second, others in the seconds after it."""
    server.flush()
    total, crowd, rest_seconds = int(1_000_000 * scale), int(100_000 * scale), 15
    rest = crowd // 100
    stamps = folder / "stamps"
    raw = server.client()
    with suppress(PermissionError):
        # Or a call is slow because something else had the processor in the middle of it.
        os.sched_setscheduler(server.pid, os.SCHED_FIFO, os.sched_param(1))
    with worker(server, folder=folder, BENCH_STAMPS=str(stamps)):
        wait_ready(raw)
        _schedule(server, "noop", total - crowd - rest * rest_seconds, time.time() + _LATER)
        due = int(time.time()) + 3 + int(total / 50_000)
        _schedule(server, "noop", crowd, due)
        for second in range(1, rest_seconds + 1):
            _schedule(server, "stamp", rest, due + second, queue="high")
        scheduled = sum(raw.zcard(keys.scheduled(queue)) for queue in ("default", "high"))
        print(f"{scheduled:,} tasks are scheduled", file=sys.stderr)
        time.sleep(max(0.0, due - 0.5 - time.time()))
        raw.config_set("slowlog-log-slower-than", int(_SLOW_MS * 1000))
        raw.slowlog_reset()
        raw.config_resetstat()
        eventually(lambda: raw.zcount(keys.scheduled("default"), 0, due) == 0, within=60)
        took = time.time() - due
        eventually(lambda: _count(stamps) == rest * rest_seconds, within=60)
        slow = [one["duration"] / 1000 for one in raw.slowlog_get(1000)]
        for one in raw.slowlog_get(10):
            print(f"{one['duration'] / 1000:.1f} ms: {one['command'][:60]!r}", file=sys.stderr)
        calls = raw.info("commandstats")["cmdstat_evalsha"]
    raw.close()
    late = sorted(int(line) / 1e9 for line in stamps.read_text().split())
    return [
        Row(f"{crowd:,} due at once, {total:,} scheduled: all pending", "< 5 s", f"{took:.2f} s", took < 5),
        Row("calls of Redis over 5 ms meanwhile", "0", f"{len(slow)}, longest {max(slow, default=0):.1f} ms; mean of {calls['calls']:,} scripts {calls['usec_per_call']:.0f} us", not slow),
        Row(f"lateness of {len(late):,} others, to the handler, p99", "< 1 s", _spread(late), _p99(late) < 1),
    ]  # fmt: skip


def punctual(server: RedisServer, folder: Path, scale: float) -> list[Row]:
    """One delayed task a second, nothing else: from its second to the first line of the handler."""
    server.flush()
    stamps = folder / "stamps"
    count = max(5, int(100 * scale))
    raw, client = server.client(), client_of(server)
    with worker(server, folder=folder, BENCH_STAMPS=str(stamps)):
        wait_ready(raw)
        first = int(time.time()) + 2
        for second in range(first, first + count):
            moment = datetime.fromtimestamp(second, UTC)
            client.enqueue("stamp", {"sent_ns": second * 10**9}, process_at=moment)
        eventually(lambda: _count(stamps) == count, within=count + 20)
    raw.close()
    client.close()
    late = sorted(int(line) / 1e9 for line in stamps.read_text().split())
    p99 = _p99(late)
    return [Row("a delayed task, system idle, handler after its second, p99", "< 60 ms", _spread(late), p99 < 0.06)]  # fmt: skip


def idle(server: RedisServer, folder: Path, scale: float) -> list[Row]:
    """A scheduler process with nothing to do, beside a thousand tasks that are due in an hour."""
    server.flush()
    _schedule(server, "noop", 1000, time.time() + _LATER)
    command = [sys.executable, "-m", "qd", "scheduler", "--app", "tests.bench.app"]
    seconds = max(5.0, 30 * scale)
    with started(command, folder / "log", {"QD_REDIS__ADDRS": server.tcp_url}) as pid:
        eventually(lambda: "is ready" in (folder / "log").read_text(), within=20)
        time.sleep(3)
        (child,) = children_of(pid)
        before, began = cpu_seconds_of(child), time.monotonic()
        time.sleep(seconds)
        share = (cpu_seconds_of(child) - before) / (time.monotonic() - began) * 100
    return [Row("scheduler process, idle", "< 0.5 % of a core", f"{share:.2f} %", share < 0.5)]


def _schedule(
    server: RedisServer, task_type: str, count: int, at: float, queue: str = "default"
) -> None:
    client = client_of(server)
    moment = datetime.fromtimestamp(int(at), UTC)
    options = TaskOptions(queue=queue, process_at=moment)
    payload = {"sent_ns": int(at) * 10**9} if task_type == "stamp" else {"x": 1}
    for first in range(0, count, 5000):
        size = min(5000, count - first)
        client.enqueue_many([NewEnqueue(task_type, payload, options)] * size)
    client.close()


def _count(stamps: Path) -> int:
    return stamps.read_bytes().count(b"\n") if stamps.exists() else 0


def _p99(ordered: list[float]) -> float:
    """The smallest value that 99 of 100 do not exceed."""
    return ordered[math.ceil(len(ordered) * 0.99) - 1]


def _spread(late: list[float]) -> str:
    p50, p99, most = (
        f"{one * 1000:,.0f}" for one in (statistics.median(late), _p99(late), late[-1])
    )
    return f"{p99} ms (p50 {p50}, max {most})"


SCENES = {"dst": dst, "flood": flood, "punctual": punctual, "idle": idle}

if __name__ == "__main__":
    sys.exit(play("tests.bench.clock", __doc__, SCENES))
