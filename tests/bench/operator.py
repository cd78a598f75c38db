"""
`make operator`: how soon commands answer, with a million tasks in Redis, and what a screen costs.

    python -m tests.bench.operator [reads] [scan] [requeue] [dash]

Prints each target with what was found. Times are those of whole processes, from start to exit. The
server has priority on its processor where that is allowed, or one of its calls is slow because
something else ran in the middle of it.
"""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redis

from qd.protocol import codec, keys
from qd.protocol.message import TaskMessage, Terms
from tests.bench.measure import wait_ready, worker
from tests.bench.report import Row
from tests.bench.scenes import play
from tests.cli.screen import Terminal
from tests.support.procs import cpu_seconds_of, environment
from tests.support.servers import RedisServer
from tests.support.wait import eventually

QUEUE = "default"
_SOON = 0.3
"""Seconds in which a command answers."""

_SLOW_MS = 5.0
_BATCH = 2000
_CROWD = {"pending": 0.4, "retry": 0.3, "scheduled": 0.2, "archived": 0.1}
"""States that a million tasks are in, and their shares."""

READS = (
    "stats",
    "queue ls",
    "queue show default",
    "queue history default",
    "task ls",
    "task ls --state retry --limit 100",
    "task ls --state archived --error Timeout --limit 10",
    "task show pending-7",
    "task why pending-7",
    "task why retry-7",
    "dlq ls",
    "dlq show archived-7",
    "server ls",
    "cron ls",
    "cron next",
    "group ls",
    "limit ls",
    "breaker ls",
    "events",
    "config show",
    "version",
)


def reads(server: RedisServer, folder: Path, scale: float) -> list[Row]:
    """Each command that is answered from counts or from one page, beside a worker that idles."""
    total = int(1_000_000 * scale)
    env = _environment(server)
    raw = server.client()
    with worker(server, "--no-scheduler", "-q", "other=1", folder=folder):
        wait_ready(raw)
        for state, share in _CROWD.items():
            _fill(raw, state, int(total * share))
        found = {line: _times(line.split(), env) for line in ("--help", *READS)}
        asked = _times(["task", "show", "pending-1"], {**env, "_QD_COMPLETE": "fish"})
    raw.close()
    rows = [_answers("qd --help", found.pop("--help"), 0.12)]
    rows += [_answers(f"qd {line}", times, _SOON) for line, times in found.items()]
    rows.append(_answers("Tab behind `qd task show pending-1`", asked, _SOON))
    return rows


def scan(server: RedisServer, folder: Path, scale: float) -> list[Row]:
    """Filters that fit nothing look at every task."""
    count = int(300_000 * scale)
    raw, env = server.client(), _environment(server)
    _fill(raw, "retry", count)
    raw.close()
    rows = []
    for what in ("--error nothing.*fits", "--type none", "--payload n=-1", "--older 365d"):
        words = ["task", "ls", "--state", "retry", *what.split(maxsplit=1)]
        took = statistics.median(_once(words, env) for _ in range(3))
        rate = count / took
        rows.append(Row(f"task ls {what}, {count:,} tasks", ">= 100,000/s", f"{rate:,.0f}/s", rate >= 100_000))  # fmt: skip
    return rows


def requeue(server: RedisServer, folder: Path, scale: float) -> list[Row]:
    """All dead tasks of a queue are brought back, with their retries."""
    count = int(100_000 * scale)
    raw, env = server.client(), _environment(server)
    _fill(raw, "archived", count)
    with _slow_calls(server, raw) as slow:
        took = _once(["dlq", "requeue", "--all", "-y"], env)
    back = raw.llen(keys.pending(QUEUE))
    raw.close()
    return [
        Row(f"dlq requeue of {count:,} dead tasks", "< 10 s", f"{took:.1f} s, {back:,} are back", took < 10 * scale and back == count),
        _calls("calls of Redis over 5 ms meanwhile", slow),
    ]  # fmt: skip


def dash(server: RedisServer, folder: Path, scale: float) -> list[Row]:
    """A screen of 80x24 and a large one, with a crowd in Redis and a worker at work."""
    raw = server.client()
    for state, share in _CROWD.items():
        if state != "pending":
            _fill(raw, state, int(100_000 * scale * share))
    seconds = max(5.0, 20 * scale)
    rows = []
    with worker(server, folder=folder):
        wait_ready(raw)
        for columns, lines in ((80, 24), (200, 60)):
            with Terminal(["dash"], _environment(server), columns=columns, lines=lines) as screen:
                screen.wait("[q] quit")
                pid = _itself(screen.pid)
                before, began = cpu_seconds_of(pid), time.monotonic()
                while time.monotonic() < began + seconds:
                    # Somebody looks at it: what is written is taken away.
                    assert screen.lines
                    time.sleep(0.2)
                share = (cpu_seconds_of(pid) - before) / (time.monotonic() - began) * 100
                screen.press("q")
                screen.end()
            rows.append(Row(f"qd dash, {columns}x{lines}", "< 5 % of a core", f"{share:.1f} %", share < 5))  # fmt: skip
    raw.close()
    return rows


def _environment(server: RedisServer) -> dict[str, str]:
    return environment(QD_REDIS__ADDRS=server.tcp_url)


def _times(words: list[str], env: dict[str, str], runs: int = 20) -> list[float]:
    """Seconds of so many runs, in order of size; the first one compiles, and is left out."""
    _once(words, env)
    return sorted(_once(words, env) for _ in range(runs))


def _once(words: list[str], env: dict[str, str]) -> float:
    began = time.perf_counter()
    command = [sys.executable, "-m", "qd", *words]
    done = subprocess.run(command, env=env, capture_output=True, check=False, text=True)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return time.perf_counter() - began


def _answers(what: str, times: list[float], target: float) -> Row:
    p95 = times[math.ceil(len(times) * 0.95) - 1]
    found = f"{p95 * 1000:.0f} ms (p50 {statistics.median(times) * 1000:.0f})"
    return Row(f"{what}, p95", f"< {target * 1000:.0f} ms", found, p95 < target)


def _fill(raw: redis.Redis, state: str, count: int) -> None:
    """Store tasks as the scripts would, but faster."""
    now = int(time.time())
    container = {
        "pending": keys.pending, "retry": keys.retry, "scheduled": keys.scheduled,
        "archived": keys.archived,
    }[state](QUEUE)  # fmt: skip
    failed = state in ("retry", "archived")
    terms = [
        Terms(
            queue=QUEUE,
            max_retry=25,
            retried=25 if failed else 0,
            timeout=1800,
            error=f"TimeoutError: shop {n} has not answered" if failed else "",
            last_failed_at=now if failed else 0,
        )
        for n in range(50)
    ]
    raw.sadd(keys.QUEUES, QUEUE)
    for first in range(0, count, _BATCH):
        ids = [f"{state}-{n}" for n in range(first, min(first + _BATCH, count))]
        pipe = raw.pipeline(transaction=False)
        for n, task_id in enumerate(ids):
            payload = b'{"n": %d, "user": {"id": 42, "name": "Ann Example"}}' % n
            message = codec.encode_task(TaskMessage("mail:send", payload, task_id, terms[n % 50]))
            fields: dict[str, bytes | str | int] = {"msg": message, "state": state}
            if state == "pending":
                fields["pending_since"] = now * 10**9
            pipe.hset(keys.task(QUEUE, task_id), mapping=fields)
        if state == "pending":
            pipe.lpush(container, *ids)
        else:
            due = now - 3600 if state == "archived" else now + 3600
            pipe.zadd(container, dict.fromkeys(ids, due))
        pipe.execute()


@contextmanager
def _slow_calls(server: RedisServer, raw: redis.Redis) -> Iterator[list[float]]:
    """Milliseconds of the calls that were slow; there when the block has ended."""
    with suppress(PermissionError):
        os.sched_setscheduler(server.pid, os.SCHED_FIFO, os.sched_param(1))
    raw.config_set("slowlog-log-slower-than", int(_SLOW_MS * 1000))
    raw.config_set("slowlog-max-len", 10_000)
    raw.slowlog_reset()
    slow: list[float] = []
    yield slow
    entries = raw.slowlog_get(10_000)
    slow += [one["duration"] / 1000 for one in entries]
    for one in entries[:5]:
        print(f"{one['duration'] / 1000:.1f} ms: {one['command'][:60]!r}", file=sys.stderr)


def _calls(what: str, slow: list[float]) -> Row:
    return Row(what, "0", f"{len(slow)}, longest {max(slow, default=0):.1f} ms", not slow)


def _itself(pid: int) -> int:
    """The program on the terminal: `setsid` becomes it, or starts it."""
    eventually(lambda: b"dash" in Path(f"/proc/{pid}/cmdline").read_bytes())
    return pid


SCENES = {"reads": reads, "scan": scan, "requeue": requeue, "dash": dash}

if __name__ == "__main__":
    sys.exit(play("tests.bench.operator", __doc__, SCENES))
