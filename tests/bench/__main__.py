"""
`make bench`: every figure that has a target, the peers beside it, and the ceiling of the same run.

Contenders take turns, round by round. Prints as it goes; keeps build/bench.json; a run of all
scenes writes RESULTS.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench import draining, enqueueing, growing, hearing, report, waking
from tests.bench.contenders import PEERS, QD, Asynq, Contender, Qd, install_peers
from tests.bench.machine import machine, versions
from tests.bench.measure import ROOT, Figures
from tests.compat.asynq_build import GoUnavailableError, build
from tests.support.servers import RedisServer

_SCENES = (
    "drain",
    "wait",
    "burn",
    "enqueue",
    "wake",
    "hear",
    "start",
    "queues",
    "pending",
    "active",
)
_WAIT = Qd("10 ms of waiting, 2 x 100 slots", "wait", 100_000)


def main() -> int:
    options = _options()
    rounds: dict[str, list[Figures]] = {}

    def note(scene: str, figures: Figures) -> None:
        rounds.setdefault(scene, []).append(figures)
        text = "  ".join(f"{name} {value:,.1f}" for name, value in figures.items())
        print(f"{scene:<40} {text}", flush=True)

    contenders = list(_contenders(options.peers))
    with tempfile.TemporaryDirectory() as name, RedisServer(tcp=True) as server:
        print(machine(), versions(server), sep="\n", end="\n\n", flush=True)
        for number in range(options.rounds):
            print(f"round {number + 1}", flush=True)
            _round(server, Path(name), options, contenders, note, last=number + 1 == options.rounds)
        whole = set(options.only) == set(_SCENES) and options.scale >= 1
        page = Path(__file__).with_name("RESULTS.md") if whole else None
        report.keep(rounds, server, [*contenders, _WAIT], ROOT / "build", page)
    print("\n" + report.table(report.medians(rounds)))
    return 0


def _round(
    server: RedisServer,
    folder: Path,
    options: argparse.Namespace,
    contenders: list[Contender],
    note: Callable[[str, Figures], None],
    *,
    last: bool,
) -> None:
    scale, chosen = options.scale, options.only
    if "drain" in chosen:
        server.flush()
        note("ceiling", draining.ceiling(server, int(50_000 * scale)))
        for one in contenders:
            note(f"drain: {one.name}", draining.drain(server, one, scale))
    if "wait" in chosen:
        note(_WAIT.name, draining.drain(server, _WAIT, scale))
    if "burn" in chosen:
        note("5 ms of pure Python", draining.burn(server, int(2_000 * scale), folder))
    if "enqueue" in chosen:
        note("enqueue", enqueueing.enqueue(server, int(10_000 * scale)))
    if "wake" in chosen:
        for scene, figures in waking.wake_up(server, int(300 * scale), folder).items():
            note(scene, figures)
    if "hear" in chosen:
        for scene, figures in hearing.hear(server, int(200 * scale), folder).items():
            note(scene, figures)
    if "start" in chosen:
        note("start to first task", waking.start_up(server, 5, folder))
    # These take minutes, or need no second look.
    if last and "queues" in chosen:
        note("idle, 200 queues", waking.many_queues(server, 200, folder))
    if last and "pending" in chosen:
        note("many pending", growing.pending(server, options.pending))
    if last and "active" in chosen:
        note("many active", growing.active(server))


def _contenders(peers: bool) -> Iterator[Contender]:
    yield from QD
    try:
        build("asynqctl")
        yield Asynq()
    except GoUnavailableError as error:
        print(f"without asynq: {error}", file=sys.stderr)
    if not peers:
        return
    try:
        install_peers()
        yield from PEERS
    except subprocess.CalledProcessError as error:
        print(f"without the peers from PyPI: {error}", file=sys.stderr)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="fewer tasks: 0.1")
    parser.add_argument("--only", nargs="+", choices=_SCENES, default=_SCENES)
    parser.add_argument("--pending", type=int, default=10_000_000, help="most tasks in a queue")
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
