"""`qd worker --reload`: for development, reload the workers when a source file changes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_INTERVAL = 0.5
_SKIPPED = {".git", ".venv", "venv", "node_modules", "__pycache__", ".qd"}


def run_reloading(arguments: Sequence[str], folder: Path, say: Callable[[str], None]) -> int:
    """
    Run `qd` with *arguments* and send it HUP when a Python or YAML file below *folder* changes.

    HUP replaces the processes one by one, and keeps the old ones if the new code does not start.
    Returns the exit code of the worker; TERM and INT are passed on.
    """
    worker = subprocess.Popen([sys.executable, "-m", "qd", *arguments])  # noqa: S603 - ourselves

    def pass_on(number: int, _frame: object) -> None:
        worker.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, pass_on)
    seen = _stamps(folder)
    while worker.poll() is None:
        time.sleep(_INTERVAL)
        now = _stamps(folder)
        changed = sorted(
            path for path in seen.keys() | now.keys() if seen.get(path) != now.get(path)
        )
        if changed:
            seen = now
            say(f"{changed[0]} changed; reloading")
            worker.send_signal(signal.SIGHUP)
    return worker.returncode


def _stamps(folder: Path) -> dict[str, float]:
    stamps: dict[str, float] = {}
    for path in _sources(folder):
        try:
            stamps[str(path.relative_to(folder))] = path.stat().st_mtime
        except FileNotFoundError:
            continue  # deleted just now; the next look tells
    return stamps


def _sources(folder: Path) -> list[Path]:
    found: list[Path] = []
    for path in folder.iterdir():
        if path.is_dir():
            if path.name not in _SKIPPED:
                found += _sources(path)
        elif path.suffix in {".py", ".yaml", ".yml"}:
            found.append(path)
    return found
