"""Plays scenes, each on a server of its own, and prints each target with what was found."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.bench.machine import machine
from tests.bench.report import Row
from tests.support.servers import RedisServer

Scene = Callable[[RedisServer, Path, float], list[Row]]
"""Gets a server, an empty folder and the scale: how much of everything there is to be."""


def play(program: str, description: str | None, scenes: Mapping[str, Scene]) -> int:
    """Play the scenes that the command line names, or all; return 1 if a target was missed."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    parser.add_argument("scenes", nargs="*", metavar="scene", choices=[*scenes, []])
    parser.add_argument("--scale", type=float, default=1.0, help="less of everything: 0.1")
    options = parser.parse_args()
    print(machine(), end="\n\n")
    names = options.scenes or scenes
    rows = [row for name in names for row in _one(scenes[name], options.scale)]
    return 1 if any(row.met is False for row in rows) else 0


def _one(scene: Scene, scale: float) -> Iterator[Row]:
    marks = {True: "met", False: "missed", None: "-"}
    with tempfile.TemporaryDirectory() as folder, RedisServer(tcp=True) as server:
        for row in scene(server, Path(folder), scale):
            print(f"{row.measure:<66} {row.target:<18} {row.found}  {marks[row.met]}", flush=True)
            yield row
