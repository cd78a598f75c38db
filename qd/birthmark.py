"""
What proves that processes are dead, to others on the same machine: their birthmark.

It names the boot of the kernel, the namespaces in which a pid and a time mean something, and each
process with the moment at which it began. A number alone would not do: pids are used again, and every
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


def of(*pids: int) -> str:
    """Return the birthmark of living processes; empty where the kernel does not tell."""
    home, stats = _home(), [_stat(pid) for pid in pids]
    if not home or not all(stats):
        return ""
    born = (f"{pid}:{stat[_STARTED]}" for pid, stat in zip(pids, stats, strict=True))
    return "\n".join([home, *born])


def all_dead(birthmark: str) -> bool:
    """
    Say whether the processes of a birthmark are certainly dead, all of them.

    False means that one lives, or that nobody can tell from here: they ran under another kernel or in
    another container.
    """
    home, *born = birthmark.split("\n")
    return bool(home and born) and home == _home() and all(map(_is_dead, born))


def _is_dead(born: str) -> bool:
    number, _, started = born.partition(":")
    if not number.isdecimal() or not int(number):
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    # There is one: the same, or another that was given its number.
    stat = _stat(int(number))
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
