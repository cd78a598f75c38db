"""What `qd bench` concludes from its figures."""

from __future__ import annotations

from msgspec.structs import replace

from qd.app.bench import Drained, Measured, Plan
from qd.app.bench_verdict import verdict

RUN = Drained(
    tasks=50_000, seconds=1.0, failed=0, enqueue_rate=1e5, worker=0.4, redis=0.3, host=0.5
)
FOUND = Measured(Plan(2, 10, 50_000, 10.0), 0.0009, (0.0006, 0.002), RUN, None)


def said(found: Measured, cpus: int = 8) -> str:
    return " ".join(verdict(found, cpus=cpus))


def test_a_redis_that_is_always_busy_is_the_limit() -> None:
    assert "Redis is the limit: it used 97%" in said(
        replace(FOUND, nothing=replace(RUN, redis=0.97, worker=0.9))
    )


def test_busy_processes_are_the_limit_while_there_are_more_cpus() -> None:
    found = said(replace(FOUND, nothing=replace(RUN, worker=0.99)))
    assert "The worker processes are the limit (99% of a core each)" in found
    assert "there are 8 CPUs" in found


def test_a_host_without_an_idle_cpu_is_the_limit() -> None:
    found = said(replace(FOUND, nothing=replace(RUN, host=0.97, worker=0.6, redis=0.7)), cpus=2)
    assert "This host is the limit: all of its 2 CPUs are busy" in found
    assert "other programs" not in found


def test_other_programs_on_a_busy_host_are_named() -> None:
    found = said(replace(FOUND, nothing=replace(RUN, host=1.0, worker=0.2, redis=0.2)), cpus=2)
    assert "(each worker process takes 20% of one, Redis 20%, other programs 140%)" in found


def test_where_nobody_is_busy_the_round_trip_is_the_limit() -> None:
    assert "Round trip 0.90 ms: raise worker.concurrency, now 10." in said(FOUND)
    unknown = replace(FOUND, nothing=replace(RUN, redis=None))
    assert "Round trip 0.90 ms" in said(unknown)


def test_a_handler_that_waits_wants_more_slots() -> None:
    found = said(replace(FOUND, own=replace(RUN, tasks=1000, worker=0.05)))
    assert "Your handler is the limit: 1,000 tasks/s with it, 50,000 with" in found
    assert "It waits (each process uses 5% of a core): raise worker.concurrency, now 10." in found


def test_a_handler_that_computes_wants_more_processes() -> None:
    own = replace(RUN, tasks=1000, worker=0.98)
    assert "raise worker.processes, now 2; there are 8 CPUs" in said(replace(FOUND, own=own))
    assert "only more hosts help" in said(replace(FOUND, own=own), cpus=2)


def test_a_handler_that_costs_nothing_is_not_blamed() -> None:
    found = said(replace(FOUND, own=replace(RUN, tasks=48_000)))
    assert found.startswith("Your handler costs next to nothing. Round trip")


def test_failures_of_the_own_handler_are_told() -> None:
    own = replace(RUN, tasks=1000, failed=7)
    assert said(replace(FOUND, own=own)).endswith(
        "7 of 1,000 tasks failed; their time counts as well."
    )
