"""
Build the Go programs of the compatibility suites: `asynqctl` (ours) and `asynq` (asynq's own CLI).

Each is built once per state of `asynqctl/` into `build/asynqctl-<hash>/` of the checkout. Where
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

SOURCES = Path(__file__).parent / "asynqctl"
_BUILD = Path(__file__).parents[2] / "build"
_PACKAGES = {"asynqctl": ".", "asynq": "github.com/hibiken/asynq/tools/asynq"}


class GoUnavailableError(Exception):
    """There is no way to build here; the text is the reason to skip."""


def program(name: str) -> Path:
    """Where `asynqctl` or `asynq` is, built if need be. Skips the test (in CI: fails it) if not."""
    try:
        return build(name)
    except GoUnavailableError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


def build(name: str) -> Path:
    """
    Where `asynqctl` or `asynq` is, built if need be. Safe to call from several processes at once.

    Raises:
        GoUnavailableError: No Go, or no way to its modules.
        RuntimeError: The sources do not compile; the text is the compiler's.
    """
    folder = _BUILD / f"asynqctl-{_fingerprint()}"
    target = folder / name
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _compile(_PACKAGES[name], target)
    return target


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for path in sorted(SOURCES.iterdir()):
        if path.suffix in {".go", ".mod", ".sum"}:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _compile(package: str, target: Path) -> None:
    if shutil.which("go") is None:
        raise GoUnavailableError("needs Go to build asynqctl: no program `go` in PATH")
    # Loads what the build needs and compiles nothing: tells a missing module from a mistake of ours.
    listing = _go("list", "-deps", package)
    if listing.returncode:
        raise GoUnavailableError(f"Go cannot load the modules of asynqctl: {listing.stderr[-800:]}")
    unfinished = target.with_suffix(".new")
    # -trimpath, because asynq writes source paths of panics into its messages.
    built = _go("build", "-trimpath", "-o", str(unfinished), package)
    if built.returncode:
        raise RuntimeError(built.stderr)
    unfinished.replace(target)


def _go(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    return subprocess.run(
        ["go", *words],
        cwd=SOURCES,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
