"""`qd bench`: how fast this Redis, this host and these settings are, and what holds them back."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from qd.cli.frame import Command, Flags
from qd.cli.progress import progress
from qd.cli.session import Session, with_session
from qd.cli.types import DURATION
from qd.errors import UsageError

if TYPE_CHECKING:
    from qd.app.bench import Drained, Load, Measured


@click.command(
    "bench",
    cls=Command,
    short_help="Measure throughput and latency, and say what the limit is.",
    examples=(
        "qd bench",
        "qd bench --processes 4 --concurrency 100",
        "qd bench --app shop.tasks --type image:resize --payload '{\"id\": 7}' --tasks 2000",
    ),
)
@click.option("--tasks", type=click.IntRange(min=100), default=50_000, show_default=True)
@click.option(
    "--seconds", type=DURATION, default="10s", show_default=True, help="Longest time of a run."
)
@click.option("--processes", metavar="N", help="Worker processes; 0 for the CPUs there are.")
@click.option("--concurrency", metavar="N", help="Tasks at a time in each process.")
@click.option("--app", metavar="MOD[:ATTR]", help="Your module, with --type.")
@click.option("--type", "task_type", metavar="TYPE", help="Also run your own handler of this type.")
@click.option("--payload", metavar="JSON", help="Payload of these tasks; @FILE, or - for stdin.")
@with_session
def bench(
    session: Session,
    /,
    tasks: int,
    seconds: float,
    task_type: str | None,
    payload: str | None,
    **flags: str | None,
) -> None:
    """
    Measure throughput and latency, and say what the limit is.

    A worker with your settings drains a queue of its own, named qd-bench-... and removed at the
    end: first with a handler that does nothing, then, with --type, with yours, which really runs.
    No other queue is touched, but Redis is kept busy meanwhile.
    """
    session.flags.overrides.update(
        {key: flags[name] for name, key in _SETTINGS.items() if flags[name] is not None}
    )
    own = _own_load(session, task_type, payload)
    from qd.app.bench import Bench, Plan
    from qd.config.cpus import usable_cpus

    worker = session.settings.worker
    plan = Plan(worker.processes or usable_cpus(), worker.concurrency, tasks, seconds)
    runs = 1 if own is None else 2
    with _term_as_interrupt(), progress("measuring", runs * tasks) as advance:
        found = Bench(
            session.client,
            session.inspector,
            session.link,
            plan,
            stored=session.stored,
            arguments=_arguments(session.flags),
            advance=advance,
        ).run(own)
    _show(session, found, usable_cpus())


_SETTINGS = {
    "processes": "worker.processes",
    "concurrency": "worker.concurrency",
    "app": "app",
}


@contextmanager
def _term_as_interrupt() -> Iterator[None]:
    """SIGTERM ends a program at once; the queue is to be removed before."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _own_load(session: Session, task_type: str | None, payload: str | None) -> Load | None:
    from qd.app.bench import Load
    from qd.app.loading import check_module_exists
    from qd.cli.payload import read_payload

    if task_type is None:
        if payload is not None:
            raise UsageError("--payload goes with --type.", hint="Name the type of your tasks.")
        return None
    app = session.settings.app
    if not app:
        raise UsageError(
            f"No application for --type {task_type}.", hint="Give --app mypackage.tasks"
        )
    check_module_exists(app)
    return Load(app, task_type, read_payload([] if payload is None else [payload]))


def _arguments(flags: Flags) -> list[str]:
    """The options that give another `qd` the configuration of this one."""
    words = [] if flags.config is None else ["--config", flags.config]
    for one in flags.sets:
        words += ["--set", one]
    if "redis.addrs" in flags.overrides:
        words += ["--redis", str(flags.overrides["redis.addrs"])]
    return words


def _show(session: Session, found: Measured, cpus: int) -> None:
    from msgspec import to_builtins

    from qd.app.bench_verdict import verdict

    said = verdict(found, cpus=cpus)
    if session.out.machine:
        document: dict[str, Any] = to_builtins(found)
        for name in ("nothing", "own"):
            run: Drained | None = getattr(found, name)
            if run is not None:
                document[name]["rate"] = run.rate
        session.out.one("qd.bench/1", "bench", {**document, "verdict": said}, {})
        return
    plan, nothing = found.plan, found.nothing
    facts = {
        "worker": f"{plan.processes} processes x {plan.concurrency} slots, {cpus} CPUs here",
        "round trip": f"{found.round_trip * 1000:.2f} ms",
        "latency, idle worker": f"{found.latency[0] * 1000:.2f} ms, 99 %: "
        f"{found.latency[1] * 1000:.2f} ms",
        "enqueue, in thousands": f"{nothing.enqueue_rate:,.0f}/s",
        "run, nothing to do": _run(nothing),
    }
    if found.own is not None:
        facts["run, your handler"] = _run(found.own)
    session.out.one("qd.bench/1", "bench", {}, {**facts, "verdict": " ".join(said)})


def _run(run: Drained) -> str:
    redis = "" if run.redis is None else f", Redis {run.redis:.0%}"
    return f"{run.rate:,.0f}/s; of a core: each process {run.worker:.0%}{redis}"
