"""
What proves that a process is dead, to others on the same machine: its birthmark.

A birthmark names the boot of the kernel, the namespaces in which a pid and a time mean something, and
the moment at which the process began. A number alone would not do: pids are used again, and every
container has a process 7. Where the kernel does not tell, there is no birthmark, and nothing is
proven.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_STATE, _STARTED = 0, 19
"""Places in /proc/PID/stat, counted from behind the name (proc(5): state, starttime)."""

_SPACES = ("pid", "time")


def of_this_process() -> str:
    """Return the birthmark of this process; empty where the kernel does not tell."""
    home, stat = _home(), _stat(os.getpid())
    return f"{home} {stat[_STARTED]}" if home and stat else ""


def is_dead(pid: int, birthmark: str) -> bool:
    """
    Say whether the process that had this pid and birthmark is certainly dead.

    False means that it lives, or that nobody can tell from here: it ran under another kernel or in
    another container.
    """
    home, _, started = birthmark.rpartition(" ")
    if pid <= 0 or not home or home != _home():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    # There is one: the same, or another that was given its number.
    stat = _stat(pid)
    return bool(stat) and (stat[_STATE] == "Z" or stat[_STARTED] != started)


def _home() -> str:
    """The boot and the namespaces of this process."""
    own = Path("/proc/self")
    with suppress(OSError):
        # A /proc that was mounted for other namespaces tells of other processes.
        if str(own.readlink()) == str(os.getpid()):
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            # The number of a namespace is used again only after all in it are dead.
            links = [own / "ns" / kind for kind in _SPACES]
            return " ".join([boot, *(str(link.readlink()) for link in links if link.is_symlink())])
    return ""


def _stat(pid: int) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []
