"""What a measurement means: the narrowest place, and what widens it."""

from __future__ import annotations

from qd.app.bench import Drained, Measured

_FULL = 0.85
"""The part of a core from which on somebody counts as busy all the time."""

_ALL = 0.9
"""The same for all CPUs of this host together."""

_OTHERS = 0.3
"""CPUs that other programs must take to be named."""

_NOTICED = 0.7
"""The part of the rate without a handler below which the handler is what counts."""


def verdict(found: Measured, *, cpus: int) -> list[str]:
    """Return sentences, the most important one first. *cpus* are those of this host."""
    own = found.own
    if own is None:
        return [_limit(found, found.nothing, cpus)]
    said = []
    if own.rate < _NOTICED * found.nothing.rate:
        said.append(
            f"Your handler is the limit: {own.rate:,.0f} tasks/s with it, "
            f"{found.nothing.rate:,.0f} with one that does nothing."
        )
        said.append(_of_handler(found, own, cpus))
    else:
        said.append("Your handler costs next to nothing.")
        said.append(_limit(found, own, cpus))
    if own.failed:
        said.append(f"{own.failed:,} of {own.tasks:,} tasks failed; their time counts as well.")
    return said


def _of_handler(found: Measured, run: Drained, cpus: int) -> str:
    plan = found.plan
    if run.worker >= _FULL and plan.processes < cpus:
        return (
            f"It computes ({run.worker:.0%} of a core in each process): raise "
            f"worker.processes, now {plan.processes}; there are {cpus} CPUs."
        )
    if run.worker >= _FULL:
        return f"It computes, and all {cpus} CPUs do nothing else: only more hosts help."
    if run.host >= _ALL:
        return _busy_host(found, run, cpus)
    return (
        f"It waits (each process uses {run.worker:.0%} of a core): raise worker.concurrency, "
        f"now {plan.concurrency}."
    )


def _busy_host(found: Measured, run: Drained, cpus: int) -> str:
    redis = "" if run.redis is None else f", Redis {run.redis:.0%}"
    others = run.host * cpus - found.plan.processes * run.worker - (run.redis or 0.0)
    known = f", other programs {others:.0%}" if others > _OTHERS else ""
    return (
        f"This host is the limit: all of its {cpus} CPUs are busy (each worker process takes "
        f"{run.worker:.0%} of one{redis}{known}). Another host for Redis or for workers helps."
    )


def _limit(found: Measured, run: Drained, cpus: int) -> str:
    plan = found.plan
    if run.redis is not None and run.redis >= _FULL:
        return (
            f"Redis is the limit: it used {run.redis:.0%} of its one core. More worker processes "
            "gain nothing; queues on a second Redis would."
        )
    if run.host >= _ALL:
        return _busy_host(found, run, cpus)
    if run.worker >= _FULL:
        return (
            f"The worker processes are the limit ({run.worker:.0%} of a core each): raise "
            f"worker.processes, now {plan.processes}; there are {cpus} CPUs."
        )
    return (
        f"Round trip {found.round_trip * 1000:.2f} ms: raise worker.concurrency, now "
        f"{plan.concurrency}. A process takes as many tasks in one trip as it has free slots, and "
        "neither Redis nor a CPU is busy all the time."
    )
