"""
Where the time goes: CPU microseconds of one worker process per task, by part.

    python -m tests.bench.where [tasks]

Samples the process every millisecond of CPU time while it drains a full queue, and gives each
sample to the part whose code is on top. What runs inside of C extensions counts for the Python
code that called it; the event loop, which is one, is a part by itself.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import FrameType

import uvloop

import qd
from qd.app.workers import start_worker
from qd.config.load import from_mapping
from qd.observability import logs
from qd.protocol import keys
from qd.supervisor.running import RunningTable
from tests.bench.app import app
from tests.bench.measure import QUEUE, fill
from tests.support.servers import RedisServer
from tests.support.wait import aeventually

_PACKAGE = Path(qd.__file__).parent
_EVERY = 0.001

PARTS = {
    "runtime/fetcher.py": "fetch: which queue, how many",
    "protocol/ops/tasks.py": "fetch: which queue, how many",
    "policy/queue_order.py": "fetch: which queue, how many",
    "protocol/codec.py": "read the message",
    "protocol/protobuf.py": "read the message",
    "runtime/executor.py": "slots: start, await, end",
    "runtime/run.py": "slots: start, await, end",
    "runtime/suspects.py": "slots: start, await, end",
    "runtime/worker.py": "decide and count",
    "failpoint.py": "decide and count",
    "runtime/held.py": "decide and count",
    "policy/outcome.py": "decide and count",
    "policy/deadline.py": "decide and count",
    "supervisor/running.py": "note what runs, for the parent",
    "handlers/": "payload to arguments, the handler's call",
    "runtime/finisher.py": "write outcomes",
    "protocol/ops/endings.py": "write outcomes",
    "protocol/": "write outcomes",
    "runtime/run_log.py": "a log line per task",
    "observability/": "a log line per task",
    "broker/": "Redis connection",
}


class Sampler:
    """Counts parts. For the main thread of this process, once at a time."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()

    def start(self) -> None:
        signal.signal(signal.SIGPROF, self._note)
        signal.setitimer(signal.ITIMER_PROF, _EVERY, _EVERY)

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _note(self, number: int, frame: FrameType | None) -> None:
        # Helpers of the standard library count for the code of qd that called them, if any did.
        while frame is not None:
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(_PACKAGE):
                self.found[_part(path.relative_to(_PACKAGE).as_posix())] += 1
                return
            if path.name == "app.py":
                self.found["payload to arguments, the handler's call"] += 1
                return
            frame = frame.f_back
        self.found["event loop, threads"] += 1


def _part(path: str) -> str:
    return next((part for start, part in PARTS.items() if path.startswith(start)), path)


async def profile(server: RedisServer, count: int, log: Path) -> tuple[dict[str, float], float]:
    """Drain *count* tasks with 100 slots; CPU us per task by part, and in all."""
    logs.set_up("info", "json", str(log), role="worker")
    app.configure(
        from_mapping({"redis": {"addrs": [server.tcp_url]}, "worker": {"concurrency": 100}})
    )
    table, sampler = RunningTable(), Sampler()
    running = await start_worker(
        app,
        app.connection.endpoint,
        note_running=lambda one, until: table.start(one, until) if until else table.end(one),
    )
    with server.client() as raw:
        sampler.start()
        cpu = time.process_time()
        raw.delete(keys.paused(QUEUE))
        await aeventually(lambda: int(raw.get(keys.processed(QUEUE)) or 0) >= count, 120)
        cpu = (time.process_time() - cpu) / count * 1e6
        sampler.stop()
    await running.stop(5)
    samples = sum(sampler.found.values())
    return {part: n / samples * cpu for part, n in sampler.found.most_common()}, cpu


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with RedisServer(tcp=True) as server, tempfile.TemporaryDirectory() as folder:
        fill(server, "noop", count)
        with server.client() as raw:
            raw.set(keys.paused(QUEUE), 1)
        parts, whole = uvloop.run(profile(server, count, Path(folder, "log")))
    print("| part | us a task |\n|---|---|")
    for part, value in parts.items():
        print(f"| {part} | {value:.2f} |")
    print(f"| in all | {whole:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
