"""
`make mutations`: break each safety line in a copy of the code, and see its test turn red.

    python -m tests.chaos.mutate [words of the line ...]

Exits with 1 if a test does not notice, or is red before anything was broken.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from tests.chaos.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
_COPIED = ("qd", "tests", "pyproject.toml", "config", "README.md")
_LIMIT = 120
"""Seconds for one test; one that hangs has noticed something, too."""

_RED = 1
"""pytest's exit code if tests failed; others mean that it could not run them."""


def main() -> int:
    wanted = " ".join(sys.argv[1:])
    chosen = [one for one in MUTATIONS if wanted in one.what]
    with tempfile.TemporaryDirectory(prefix="qd-mutations-") as made:
        copy = Path(made)
        for name in _COPIED:
            _copy(ROOT / name, copy / name)
        if _test(copy, *sorted({one.test for one in chosen})) != 0:
            print("the tests are red before anything is broken", file=sys.stderr)
            return 1
        missed = [one for one in chosen if not _is_noticed(copy, one)]
    print(f"{len(chosen) - len(missed)} of {len(chosen)} mutations were noticed")
    return 1 if missed else 0


def _is_noticed(copy: Path, mutation: Mutation) -> bool:
    file = copy / mutation.file
    text = file.read_text()
    file.write_text(text.replace(mutation.old, mutation.new))
    try:
        noticed = _test(copy, mutation.test) == _RED
    finally:
        file.write_text(text)
    print(f"{'red    ' if noticed else 'MISSED '} {mutation.what}", flush=True)
    return noticed


def _test(copy: Path, *tests: str) -> int:
    # From the copy: the current folder stands before the installed package in the path.
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    # Of their own: a text that was changed and changed back within a second is not told apart.
    compiled = tempfile.mkdtemp(prefix="compiled-", dir=copy)
    env = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
    try:
        return subprocess.run(
            command, cwd=copy, env=env, capture_output=True, timeout=_LIMIT * len(tests)
        ).returncode
    except subprocess.TimeoutExpired:
        return _RED
    finally:
        _end_leftovers(copy)


def _end_leftovers(copy: Path) -> None:
    """What a broken line leaves running would go on for ever."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink().is_relative_to(copy):
                os.kill(int(process.name), signal.SIGKILL)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


if __name__ == "__main__":
    sys.exit(main())
