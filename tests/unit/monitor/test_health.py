"""When /healthz and /readyz are red, and what they say then."""

from __future__ import annotations

from msgspec.structs import replace

from qd.monitor.health import Verdict, health, readiness
from qd.monitor.totals import Process

NOW = 1000.0
WORKER = Process(pid=7, role="worker", seen_at=NOW - 1, lag=0.0)
SCHEDULER = replace(WORKER, pid=8, role="scheduler")


def ready(*processes: Process, needed: str = "worker", redis_error: str = "") -> Verdict:
    return readiness(
        processes, NOW, needed=needed, redis_error=redis_error, queues=(), high_backlog=10
    )


def test_health_does_not_depend_on_redis() -> None:
    assert health([WORKER, SCHEDULER], NOW, watchdog=15).ok


def test_a_process_that_nobody_replaces_makes_it_red() -> None:
    silent = replace(WORKER, seen_at=NOW - 26)
    verdict = health([silent, SCHEDULER], NOW, watchdog=15)
    assert verdict.reasons == ("worker 7 has been silent for 26 s",)
    assert health([silent], NOW, watchdog=30).ok


def test_ready_means_redis_and_a_worker() -> None:
    assert ready(WORKER).ok
    assert ready(SCHEDULER).reasons == ("no worker process is ready",)
    assert ready(SCHEDULER, needed="scheduler").ok
    assert ready(WORKER, redis_error="no answer").reasons == ("no answer",)


def test_a_stopping_or_silent_worker_is_not_ready() -> None:
    assert not ready(replace(WORKER, ready=False)).ok
    assert not ready(replace(WORKER, seen_at=NOW - 6)).ok
