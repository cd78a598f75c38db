"""
Build the Go programs of the compatibility suites: `asynqctl` (ours), `asynq` (asynq's own command
line) and `asynqmonctl` (asynq's web interface, which reads with an older asynq).

Each is built once per state of its sources into `build/<module>-<hash>/` of the checkout. Where
there is no Go, or its modules cannot be had, tests that ask for a program are skipped; where CI is
"true" they fail.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

_HERE = Path(__file__).parent
_BUILD = Path(__file__).parents[2] / "build"
_PACKAGES = {
    "asynqctl": ("asynqctl", "."),
    "asynq": ("asynqctl", "github.com/hibiken/asynq/tools/asynq"),
    "asynqmonctl": ("asynqmonctl", "."),
}
"""Folder of the module, and the package in it."""


class GoUnavailableError(Exception):
    """There is no way to build here; the text is the reason to skip."""


def program(name: str) -> Path:
    """Where a program is, built if need be. Skips the test (in CI: fails it) if it cannot be."""
    try:
        return build(name)
    except GoUnavailableError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


def build(name: str) -> Path:
    """
    Where a program is, built if need be. Safe to call from several processes at once.

    Raises:
        GoUnavailableError: No Go, or no way to its modules.
        RuntimeError: The sources do not compile; the text is the compiler's.
    """
    module, package = _PACKAGES[name]
    folder = _BUILD / f"{module}-{_fingerprint(_HERE / module)}"
    target = folder / name
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _compile(_HERE / module, package, target)
    return target


def _fingerprint(sources: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(sources.iterdir()):
        if path.suffix in {".go", ".mod", ".sum"}:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _compile(sources: Path, package: str, target: Path) -> None:
    if shutil.which("go") is None:
        raise GoUnavailableError(f"needs Go to build {target.name}: no program `go` in PATH")
    # Loads what the build needs and compiles nothing: tells a missing module from a mistake of ours.
    listing = _go(sources, "list", "-deps", package)
    if listing.returncode:
        raise GoUnavailableError(
            f"Go cannot load the modules of {target.name}: {listing.stderr[-800:]}"
        )
    unfinished = target.with_suffix(".new")
    # -trimpath, because asynq writes source paths of panics into its messages.
    built = _go(sources, "build", "-trimpath", "-o", str(unfinished), package)
    if built.returncode:
        raise RuntimeError(built.stderr)
    unfinished.replace(target)


def _go(sources: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    return subprocess.run(
        ["go", *words],
        cwd=sources,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
