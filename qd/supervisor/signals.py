"""
Signals to the parent, as bytes in a pipe.

The interpreter's C handler writes the number of each signal into the pipe the moment it arrives;
nothing else happens then. The loop reads the pipe when it is ready to act. So a signal is never
handled in the middle of something, and none is lost while the loop is busy.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

HANDLED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGTSTP,
    signal.SIGCONT,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
)

# As every Python process has them: a closed pipe or a full file is an exception, not a death.
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)

_MOST_AT_ONCE = 65536


class SignalInbox:
    """Catches the parent's signals from `open` on; `drain` gives them in order of arrival."""

    def __init__(self) -> None:
        self._read_fd, self._write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    @property
    def fd(self) -> int:
        """Readable when there is something to drain."""
        return self._read_fd

    @property
    def fds(self) -> tuple[int, int]:
        return self._read_fd, self._write_fd

    def open(self) -> None:
        # Some inits and `nohup` start programs with signals ignored or blocked.
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        for number in HANDLED:
            signal.signal(number, _already_in_the_pipe)
        for number in IGNORED_BY_PYTHON:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def drain(self) -> list[signal.Signals]:
        try:
            numbers = os.read(self._read_fd, _MOST_AT_ONCE)
        except BlockingIOError:
            return []
        # The wake-up pipe also carries signals somebody else caught; those are not ours.
        return [signal.Signals(number) for number in numbers if number in HANDLED]

    def close(self) -> None:
        """
        Stop listening. The handlers stay: a late TERM must not turn exit code 0 into a killed
        process.
        """
        signal.set_wakeup_fd(-1)
        os.close(self._read_fd)
        os.close(self._write_fd)


def signal_name(number: int) -> str:
    """For people: `9 (SIGKILL)`, or the number alone for one without a name."""
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:
        return str(number)


def _already_in_the_pipe(number: int, frame: FrameType | None) -> None:
    """Only there because without a Python handler the interpreter would not catch the signal."""
