"""
Fork a child, and make it a clean process before its main function runs.

Signals are blocked across the fork, so that no child ever runs a handler of the parent, and all
the parent's descriptors are closed in it: a child that kept the write end of the lifeline would
keep its brothers from noticing that the parent is dead.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Iterable
from contextlib import suppress
from typing import NoReturn

from msgspec import Struct

from qd import failpoint
from qd.supervisor import linux
from qd.supervisor.child import ChildMain, ChildRole, Link
from qd.supervisor.running import RunningTable
from qd.supervisor.signals import IGNORED_BY_PYTHON

# Enough to come before every ordinary process, too little to come before a sacrificial one.
_OOM_POINTS = 500
_STDERR = 2


class Forked(Struct, frozen=True):
    """What the parent keeps of a new child. Both descriptors are non-blocking."""

    pid: int
    status_fd: int
    inbox_fd: int
    running: RunningTable


class Lifeline:
    """A pipe nobody writes to; its reader sees the end of file once the parent is dead."""

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def close(self) -> None:
        os.close(self.read_fd)
        os.close(self.write_fd)


def fork_child(
    role: ChildRole, main: ChildMain, *, lifeline: Lifeline, parents_fds: Iterable[int]
) -> Forked:
    """
    Start a process that runs `main` and exits with what it returns.

    parents_fds: descriptors of the parent that the child must not keep.

    Raises:
        OSError: no process or no descriptor to be had; nothing is left behind. Try again later.
    """
    fds: list[int] = []
    # What is still in the buffers would be printed by both processes.
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        fds += os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        fds += os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        status_read, status_write, inbox_read, inbox_write = fds
        running = RunningTable()
        failpoint.hit("fork.before")
        pid = os.fork()
        if pid == 0:
            link = Link(role, status_write, lifeline.read_fd, inbox_read, running)
            _be_child(main, link, [*parents_fds, lifeline.write_fd, status_read, inbox_write])
    except OSError:
        for fd in fds:
            os.close(fd)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.close(status_write)
    os.close(inbox_read)
    return Forked(pid, status_read, inbox_write, running)


def _be_child(main: ChildMain, link: Link, parents_fds: Iterable[int]) -> NoReturn:
    exit_code = 1
    try:
        failpoint.hit("fork.child")
        _become_clean(parents_fds)
        link.report_booting()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        exit_code = int(main(link))
    except SystemExit as leaving:
        exit_code = leaving.code if isinstance(leaving.code, int) else int(bool(leaving.code))
        if not isinstance(leaving.code, int | None):
            print(leaving.code, file=sys.stderr)  # noqa: T201 - what Python itself does then
    except BaseException:  # noqa: BLE001 - the last frame of this process: nobody else would say it
        traceback.print_exc()
    finally:
        # Nothing may go wrong in this call: the child would run on as a second parent.
        leave(exit_code)


def leave(exit_code: int) -> NoReturn:
    """End this child at once, whatever other threads of it do."""
    with suppress(BaseException):
        sys.stdout.flush()
    with suppress(BaseException):
        sys.stderr.flush()
    os._exit(exit_code & 0xFF)


def _become_clean(parents_fds: Iterable[int]) -> None:
    signal.set_wakeup_fd(-1)
    faulthandler.disable()
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    # Quiet reaches a child as a line; the signal's default would freeze it.
    for number in (*IGNORED_BY_PYTHON, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    # At the level of C, so that also a loop that hangs says where: ABRT before it is killed,
    # USR2 whenever asked.
    faulthandler.enable(file=_STDERR, all_threads=True)
    faulthandler.register(signal.SIGUSR2, file=_STDERR, all_threads=True)
    for fd in parents_fds:
        os.close(fd)
    # Ctrl-C in a terminal goes to a whole process group; it is the parent that decides what
    # follows. And what a child's tasks start can be killed together with it.
    os.setpgid(0, 0)
    linux.terminate_with_parent()
    linux.prefer_as_oom_victim(_OOM_POINTS)
