"""From what was measured to the table of targets, and the page RESULTS.md."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.contenders import REQUIREMENTS, Contender
from tests.bench.machine import machine, versions
from tests.bench.measure import Figures
from tests.support.servers import RedisServer

Medians = Mapping[str, Figures]


@dataclass(frozen=True)
class Row:
    """
    One target and what was found; `met` is None where the scene did not run.

    *limit* says what stands in the way of a target that was missed.
    """

    measure: str
    target: str
    found: str
    met: bool | None
    limit: str = ""


def medians(rounds: Mapping[str, Sequence[Figures]]) -> dict[str, Figures]:
    return {
        scene: {
            name: statistics.median(one[name] for one in measured if name in one)
            for name in measured[0]
        }
        for scene, measured in rounds.items()
        if measured
    }


def rows(of: Medians) -> list[Row]:
    """All targets in their order."""
    return [
        _row(of, "drain, async handler, beside asynq", ">= 8 x", "{:.2f} x", lambda: _drain(of, "qd, async handler") / _drain(of, "asynq 0.26 (Go)"), 8, why=lambda: _two_cores(of, "drain: qd, async handler")),
        _row(of, "the same beside Dramatiq", ">= 12 x", "{:.2f} x", lambda: _drain(of, "qd, async handler") / _drain(of, "Dramatiq"), 12, why=lambda: _two_cores(of, "drain: qd, async handler")),
        _row(of, "the same beside the ceiling of this run", ">= 0.64 x (80,000 of 125,000)", "{:.2f} x", lambda: _drain(of, "qd, async handler") / of["ceiling"]["tasks/s"], 0.64, why=lambda: _two_cores(of, "drain: qd, async handler")),
        _row(of, "drain, plain def handler, beside asynq", ">= 4 x", "{:.2f} x", lambda: _drain(of, "qd, plain def handler") / _drain(of, "asynq 0.26 (Go)"), 4, why=lambda: _two_cores(of, "drain: qd, plain def handler")),
        _row(of, "CPU per task, worker and Redis, beside asynq", "<= 1/6", "1/{:.1f}", lambda: _cpu(of, "asynq 0.26 (Go)") / _cpu(of, "qd, async handler"), 6, why=lambda: _two_cores(of, "drain: qd, async handler")),
        _row(of, "10 ms of waiting, 2 x 100 slots, of 20,000 a second", ">= 95 %", "{:.0f} %", lambda: of["10 ms of waiting, 2 x 100 slots"]["tasks/s"] / 200, 95, why=lambda: _two_cores(of, "10 ms of waiting, 2 x 100 slots")),
        _row(of, "5 ms of pure Python, of two cores", ">= 97 %", "{:.0f} %", lambda: of["5 ms of pure Python"]["% of two cores in handlers"], 97, why=lambda: "{:.0f} % is what two bare loops of the same code got; event loops, heartbeats and Redis run on the same two cores".format(of["5 ms of pure Python"]["% of two cores in bare loops"])),
        *(
            _row(of, f"idle wake-up, {who} producer, {which}", f"< {limit} ms", "{:.2f} ms", lambda who=who, which=which: of[f"wake-up, {who} producer"][f"{which} ms"], limit, least=False, why=lambda: _hops(of))
            for who in ("qd", "Go")
            for which, limit in (("p50", 0.8), ("p99", 3.0))
        ),
        _row(of, "enqueue one by one, beside a bare call of redis-py", ">= 0.8 x", "{:.2f} x", lambda: of["enqueue"]["one by one/s"] / of["enqueue"]["bare evalsha of redis-py/s"], 0.8),
        _row(of, "enqueue, 100 coroutines", ">= 60,000/s", "{:,.0f}/s", lambda: of["enqueue"]["100 coroutines/s"], 60_000, why=lambda: _bare(of, "100")),
        _row(of, "enqueue_many of 1,000", ">= 150,000/s", "{:,.0f}/s", lambda: of["enqueue"]["enqueue_many of 1,000/s"], 150_000, why=lambda: _bare(of, "1,000")),
        _row(of, "idle, CPU per process", "< 0.2 % of a core", "{:.2f} %", lambda: of["idle, 2 workers"]["idle, % of a core per process"], 0.2, least=False),
        _row(of, "idle, commands sent per process", "< 2/s", "{:.1f}/s", lambda: of["idle, 2 workers"]["idle, commands sent/s per process"], 2, least=False),
        _row(of, "the same with 200 queues", "next to nothing", "{:.1f}/s", lambda: of["idle, 200 queues"]["idle, commands sent/s per process"], 2, least=False),
        _row(of, "start to first task", "< 300 ms", "{:.0f} ms", lambda: of["start to first task"]["p50 ms"], 300, least=False, why=lambda: "imports: " + "{:.0f} ms".format(of["start to first task"]["imports, ms"])),
        _row(of, "memory, all four processes, idle", "< 60 MiB", "{:.1f} MiB", lambda: of["idle, 2 workers"]["PSS, MiB, all processes"], 60, least=False),
        _row(of, "rate with many pending beside that with 10,000", ">= 0.9 x", "{:.2f} x", lambda: _ends(of["many pending"]), 0.9),
        _row(of, "ending with 5,000 active beside one with 1, single", "the same", "{:.2f} x", lambda: _active(of, "batch 1"), 1.1, least=False),
        _row(of, "ending with 5,000 active beside one with 1, batch of 100", "the same", "{:.2f} x", lambda: _active(of, "batch 100"), 1.1, least=False),
    ]  # fmt: skip


def _row(
    of: Medians,
    measure: str,
    target: str,
    form: str,
    value: Callable[[], float],
    limit: float,
    *,
    least: bool = True,
    why: Callable[[], str] = str,
) -> Row:
    try:
        found = value()
    except KeyError:
        return Row(measure, target, "not measured", None)
    met = found >= limit if least else found <= limit
    return Row(measure, target, form.format(found), met, "" if met else why())


def _two_cores(of: Medians, scene: str) -> str:
    """What a rate could be at most, going by what a task costs."""
    worker, redis = of[scene]["worker us/task"], of[scene]["redis us/task"]
    most = min(2e6 / (worker + redis), 1e6 / redis)
    return (
        f"CPU: {worker:.1f} us a task in the workers and {redis:.1f} in Redis, "
        f"so at most {most:,.0f}/s on two cores, {1e6 / redis:,.0f}/s on one Redis"
    )


def _hops(of: Medians) -> str:
    trip = of["wake-up, qd producer"]["idle round trip, ms"]
    return (
        f"a round trip to Redis takes {trip:.2f} ms when all are asleep; a wake-up is two of them: "
        "the push and what it tells, the fetch and its answer"
    )


def _bare(of: Medians, calls: str) -> str:
    rate = of["enqueue"][f"bare, {calls} tasks a call/s"]
    return f"{rate:,.0f}/s is what the same script reaches with arguments that lie ready"


def _drain(of: Medians, who: str) -> float:
    return of[f"drain: {who}"]["tasks/s"]


def _cpu(of: Medians, who: str) -> float:
    figures = of[f"drain: {who}"]
    return figures["worker us/task"] + figures["redis us/task"]


def _ends(figures: Figures) -> float:
    few, many = (value for name, value in figures.items() if name.startswith("tasks/s"))
    return many / few


def _active(of: Medians, batch: str) -> float:
    figures = of["many active"]
    return figures[f"us/ending, {batch}, 5,000 active"] / figures[f"us/ending, {batch}, 1 active"]


def keep(
    rounds: Mapping[str, Sequence[Figures]],
    server: RedisServer,
    contenders: Iterable[Contender],
    folder: Path,
    page: Path | None,
) -> None:
    """Write build/bench.json and, if *page* is given, the page for readers."""
    facts = {
        "machine": machine(),
        "versions": versions(server),
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
    }
    found = medians(rounds)
    folder.mkdir(exist_ok=True)
    kept = {**facts, "rounds": rounds, "medians": found}
    (folder / "bench.json").write_text(json.dumps(kept, indent=2))
    if page is not None:
        page.write_text(_page(facts, rounds, found, contenders))


def table(found: Medians) -> str:
    """The targets as lines of text."""
    marks = {True: "met", False: "missed", None: "-"}
    return "\n".join(
        f"{row.measure:<58} {row.target:<30} {row.found:>14}  {marks[row.met]:<6} {row.limit}".rstrip()
        for row in rows(found)
    )


def _page(
    facts: Mapping[str, object],
    rounds: Mapping[str, Sequence[Figures]],
    found: Medians,
    contenders: Iterable[Contender],
) -> str:
    marks = {True: "met", False: "missed", None: ""}
    settings = {f"drain: {one.name}": one.settings for one in contenders}
    said = facts["versions"]
    assert isinstance(said, dict)
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Absolute rates differ by a factor of two between two runs on the",
        "same virtual machine; compare within one run, where the contenders take turns.",
        "",
        f"- {facts['when']}, {facts['machine']}",
        f"- {', '.join(f'{name} {one}' for name, one in said.items())}",
        f"- peers: {_pinned()}",
        f"- medians of {max(map(len, rounds.values()))} interleaved rounds; Redis on loopback TCP,"
        " no persistence",
        "",
        "Once more: `make bench` (all of it, a quarter of an hour), `make bench ARGS='--scale 0.2",
        "--rounds 1 --only drain'` (a part, quickly). The peers are installed into `build/peers-venv`,",
        "asynq is built with Go; what is not to be had is left out. `QD_REDIS_SERVER` chooses the",
        "server. All figures of all rounds are kept in `build/bench.json`.",
        "",
        "## Targets",
        "",
        "| measure | target | found | | what limits it |",
        "|---|---|---|---|---|",
        *(
            f"| {one.measure} | {one.target} | {one.found} | {marks[one.met]} | {one.limit} |"
            for one in rows(found)
        ),
        "",
        "## Draining a full queue of no-op tasks",
        "",
        "CPU is of the worker (all its processes) and of Redis, in microseconds a task. The ceiling is",
        "what bare calls reach, one after the other: enqueue, dequeue and done of 100 tasks each.",
        "",
        "| who | tasks/s | worker us | Redis us | settings |",
        "|---|---|---|---|---|",
        *(
            f"| {scene.removeprefix('drain: ')} | {one['tasks/s']:,.0f} | "
            f"{one.get('worker us/task', 0):.1f} | {one['redis us/task']:.1f} | "
            f"{settings.get(scene, 'one process, bare batches of 100')} |"
            for scene, one in found.items()
            if scene == "ceiling" or scene.startswith("drain: ")
        ),
        "",
        "## All else",
        "",
        "| scene | figure | median |",
        "|---|---|---|",
        *(
            f"| {scene} | {name} | {value:,.2f} |"
            for scene, one in found.items()
            if scene != "ceiling" and not scene.startswith("drain: ")
            for name, value in one.items()
        ),
        "",
    ]
    return "\n".join(lines)


def _pinned() -> str:
    return ", ".join(
        line.partition("[")[0].partition("==")[0] + " " + line.partition("==")[2]
        for line in REQUIREMENTS.read_text().splitlines()
        if "==" in line
    )
