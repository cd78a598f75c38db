"""
Collect processes that have ended.

Own children are asked for by pid. Waiting for "any" would also return strangers that the kernel
hands to PID 1, and whose exit codes mean nothing here; those are collected apart and forgotten.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Container
from contextlib import suppress

from msgspec import Struct

from qd.supervisor import linux
from qd.supervisor.signals import signal_name

# A burst of strangers must not keep the loop from its children.
_STRANGERS_AT_ONCE = 1000


class Ending(Struct, frozen=True):
    """How a process ended: `exit_code`, or `signal` if it was killed; neither if nobody knows."""

    exit_code: int | None = None
    signal: int | None = None
    peak_bytes: int = 0

    def __str__(self) -> str:
        if self.signal is not None:
            how = f"killed by signal {signal_name(self.signal)}"
        elif self.exit_code is not None:
            how = f"exit code {self.exit_code}"
        else:
            return "ended, nobody knows how"
        return f"{how}, peak memory {self.peak_bytes / 2**20:.0f} MiB"


def reap(pid: int) -> Ending | None:
    """
    Collect one own child if it has ended; never waits.

    Of one that was killed, everything still running in its process group is killed as well: its
    tasks will run elsewhere, and what they had started must not go on beside them.
    """
    try:
        # WNOWAIT keeps the pid, and so the process group, ours until the group is dealt with.
        seen = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if seen is None:
            return None
        if seen.si_code in (os.CLD_KILLED, os.CLD_DUMPED):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, os.WNOHANG)
    except ChildProcessError:
        return Ending()
    peak_bytes = usage.ru_maxrss * 1024
    if os.WIFSIGNALED(status):
        return Ending(signal=os.WTERMSIG(status), peak_bytes=peak_bytes)
    return Ending(exit_code=os.WEXITSTATUS(status), peak_bytes=peak_bytes)


def adopts_strangers() -> bool:
    """Whether the kernel makes orphans of others children of this process."""
    return os.getpid() == 1 or linux.is_subreaper()


def reap_strangers(own: Container[int]) -> None:
    """Collect ended children that nobody here started; stops at the first own one."""
    with suppress(ChildProcessError):
        for _ in range(_STRANGERS_AT_ONCE):
            seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            # The kernel names the same process again until somebody collects it, so an own one
            # ends this round; `reap` takes it, and its signal has woken the loop already.
            if seen is None or seen.si_pid in own:
                return
            os.waitpid(seen.si_pid, os.WNOHANG)
