"""
`make chaos`: kill, freeze and starve a real fleet, and print what became of every task.

    python -m tests.chaos [scene ...] [--profile short|full] [--seed N]

Exits with 1 if a target is missed. The table is kept as JSON in build/chaos.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.machine import machine
from tests.chaos import (
    scene_chain,
    scene_changes,
    scene_cron,
    scene_deaths,
    scene_failpoints,
    scene_frozen,
    scene_full,
    scene_groups,
    scene_limits,
    scene_loop,
    scene_lost,
    scene_oom,
    scene_orphans,
    scene_outage,
    scene_pid1,
    scene_poison,
    scene_put_back,
    scene_rolling,
    scene_standstill,
    scene_storm,
)
from tests.chaos.stage import FULL, SHORT, Measure, Profile, Stage

SCENES: dict[str, Callable[[Stage], list[Measure]]] = {
    "storm": scene_storm.run,
    "orphans": scene_orphans.run,
    "outage": scene_outage.frozen,
    "restart": scene_outage.restarted,
    "away": scene_standstill.away,
    "standstill": scene_standstill.standstill,
    "lost": scene_lost.run,
    "poison": scene_poison.run,
    "oom": scene_oom.run,
    "frozen": scene_frozen.run,
    "full": scene_full.run,
    "rolling": scene_rolling.run,
    "loop": scene_loop.run,
    "deaths": scene_deaths.run,
    "put-back": scene_put_back.run,
    "pid1": scene_pid1.run,
    "cron": scene_cron.run,
    "changes": scene_changes.run,
    "limit-rate": scene_limits.rate,
    "limit-slots": scene_limits.slots,
    "limit-others": scene_limits.held_back,
    "limit-fair": scene_limits.fair,
    "groups": scene_groups.run,
    "chain": scene_chain.chain,
    "fan-in": scene_chain.fan_in,
    "failpoints": scene_failpoints.run,
}
SERVER_ARGS = {"restart": scene_outage.AOF}
PROFILES = {profile.name: profile for profile in (SHORT, FULL)}
_KEPT = Path("build/chaos.json")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("scenes", nargs="*", choices=[*SCENES, []], metavar="scene")
    parser.add_argument("--profile", choices=PROFILES, default="full")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for journals and logs")
    arguments = parser.parse_args()
    # As with Ctrl-C: no host outlives the one who plays with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory() as made:
        folder = arguments.keep or Path(made)
        rows = {
            name: play(name, PROFILES[arguments.profile], arguments.seed, folder / name)
            for name in arguments.scenes or SCENES
        }
    measures = [measure for scene in rows.values() for measure in scene]
    print(table(measures))
    keep(measures, arguments.profile, arguments.seed)
    return 1 if any(measure.ok is False for measure in measures) else 0


def play(name: str, profile: Profile, seed: int, folder: Path) -> list[Measure]:
    """Play one scene on a server of its own; the last line says whether the invariants held."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    began = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    with Stage(profile, seed, folder, *SERVER_ARGS.get(name, ())) as stage:
        try:
            measures = SCENES[name](stage)
        except AssertionError as error:
            # The other scenes have something to say as well.
            return [Measure(f"{name}: played to its end", "yes", f"no: {error}"[:200], False)]
        broken = stage.broken()
    for breach in broken[:10]:
        stage.say(breach)
    measures.append(Measure(f"{name}: invariants broken", "0", str(len(broken)), not broken))
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return measures


def table(measures: list[Measure]) -> str:
    """The rows as a table in Markdown; a missed target is marked."""
    marks = {True: "", False: " **missed**", None: ""}
    rows = [(one.name, one.target, one.measured + marks[one.ok]) for one in measures]
    rows = [("measure", "target", "measured"), *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def keep(measures: list[Measure], profile: str, seed: int) -> None:
    _KEPT.parent.mkdir(exist_ok=True)
    figures = [measure._asdict() for measure in measures]
    content = {"machine": machine(), "profile": profile, "seed": seed, "figures": figures}
    _KEPT.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
