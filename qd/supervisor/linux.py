"""The Linux calls that the standard library has no name for. All are best effort."""

from __future__ import annotations

import ctypes
import signal
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_GET_CHILD_SUBREAPER = 37
_MOST_KILLABLE = 1000

# Loaded in the parent, so that all children share these pages.
_libc = ctypes.CDLL(None, use_errno=True)


def terminate_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """Have the kernel send TERM, or another signal, to this process when its parent dies."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def is_subreaper() -> bool:
    """Whether orphaned descendants become children of this process."""
    answer = ctypes.c_int(0)
    failed = _libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(answer), 0, 0, 0)
    return failed == 0 and answer.value != 0


def prefer_as_oom_victim(points: int) -> None:
    """Out of memory, the kernel should kill this process before those with fewer points."""
    path = Path("/proc/self/oom_score_adj")
    with suppress(OSError, ValueError):
        path.write_text(str(min(int(path.read_text()) + points, _MOST_KILLABLE)))


def oom_kills() -> int:
    """
    Return a number that grows when the kernel kills for want of memory, here or in this container.

    It stays the same where the kernel does not tell.
    """
    counts = 0
    for path in _oom_files():
        with suppress(OSError, ValueError):
            words = path.read_text().split()
            counts += int(words[words.index("oom_kill") + 1])
    return counts


def _oom_files() -> list[Path]:
    files = [Path("/proc/vmstat")]
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if not controllers:
                files.append(Path(f"/sys/fs/cgroup{group}/memory.events"))
            elif controllers == "memory":
                files.append(Path(f"/sys/fs/cgroup/memory{group}/memory.oom_control"))
    return files
