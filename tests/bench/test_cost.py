"""Nothing becomes dearer unnoticed; the scenes are in `cost_scenes.py`."""

from __future__ import annotations

import subprocess
import sys

from tests.support.procs import ROOT, environment

# What a thousand tasks that fail have logged helps nobody, and takes longer than they do.
_QUIETLY = ("-p", "no:logging", "--show-capture=no")


def test_nothing_costs_more_than_what_is_on_record() -> None:
    # In a process of its own: where an exception waits for a thread that hangs, as tests of hung
    # handlers leave behind, Python 3.11 traces no instruction any more but loops for ever.
    scenes = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:xdist",
            *_QUIETLY,
            "tests/bench/cost_scenes.py",
        ],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert scenes.returncode == 0, scenes.stdout
