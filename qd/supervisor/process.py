"""A child as the parent sees it: its state, its two pipes, and the ways to reach it."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from msgspec.structs import replace

from qd.supervisor.child import Report, parse_report
from qd.supervisor.fork import Forked
from qd.supervisor.state import ChildState

_PIPE_SIZE = 65536
# What a pipe can hold at most by default, and then some; a child that writes faster than it is
# read must not hold the parent.
_READS_AT_DEATH = 16


class Child:
    """One forked process, from its fork until it has been collected."""

    def __init__(self, forked: Forked, state: ChildState) -> None:
        self.state = state
        self.inbox_fd = forked.inbox_fd
        self.running = forked.running
        self.status_fd: int | None = forked.status_fd
        self._rest = b""

    @property
    def pid(self) -> int:
        return self.state.pid

    @property
    def fds(self) -> list[int]:
        return [fd for fd in (self.status_fd, self.inbox_fd) if fd is not None]

    def read(self, now: float) -> list[Report]:
        """The reports that have come in, one read's worth, already applied to `state`."""
        if self.status_fd is None:
            return []
        try:
            data = os.read(self.status_fd, _PIPE_SIZE)
        except BlockingIOError:
            return []
        if not data:
            # It is dead, which `reap` will find, or it closed its descriptors, and then its
            # silence will tell. Polling on would only spin.
            os.close(self.status_fd)
            self.status_fd = None
            return []
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_PIPE_SIZE:]
        reports = [report for line in lines if (report := parse_report(line)) is not None]
        for report in reports:
            self.state = self.state.after_report(report, now)
        return reports

    def read_all(self, now: float) -> list[Report]:
        """Everything a dead child has left; a grandchild that keeps writing is cut off."""
        reports: list[Report] = []
        for _ in range(_READS_AT_DEATH):
            news = self.read(now)
            if not news:
                break
            reports += news
        return reports

    def send(self, line: bytes) -> bool:
        """Put a line into the inbox; False if there is no room, or nobody to read it."""
        try:
            return os.write(self.inbox_fd, line) == len(line)
        except (BlockingIOError, BrokenPipeError):
            return False

    def terminate(self, now: float) -> None:
        self.state = replace(self.state, term_at=now)
        self.signal(signal.SIGTERM)

    def quit(self, now: float) -> None:
        self.state = replace(self.state, quit_at=now)
        self.signal(signal.SIGQUIT)

    def abort(self, now: float) -> None:
        self.state = replace(self.state, abort_at=now)
        self.signal(signal.SIGABRT)

    def kill(self, now: float) -> None:
        self.state = replace(self.state, kill_at=now)
        self.signal(signal.SIGKILL)

    def replace_soon(self) -> None:
        """Print its stacks; the plan finds another child for its slot."""
        self.state = replace(self.state, recycle=True)
        self.signal(signal.SIGUSR2)

    def signal(self, number: signal.Signals) -> None:
        # The pid cannot have passed to another process: it is ours until we collect it.
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)
        self.status_fd = None
        self.running.close()
