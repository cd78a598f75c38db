"""
What a child process gets from its parent, and the lines the two send each other.

Child to parent goes through the status pipe, parent to child through the inbox, both as lines
shorter than PIPE_BUF, so that a write is all or nothing. Neither side ever waits for the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum

from msgspec import Struct

from qd.supervisor.running import RunningTable

# The smallest PIPE_BUF of any Linux is 4096; the rest is room for the fields around a text.
LONGEST_TEXT = 3500

# A child leaves with one of these to say what should follow; all are clean ends.
RECYCLE_EXIT = 85
DONE_EXIT = 86


class ChildRole(StrEnum):
    WORKER = "worker"
    SCHEDULER = "scheduler"
    MONITOR = "monitor"


class Death(StrEnum):
    """
    How much the death of a worker says about the tasks it was running.

    CRASHED: one of them is the likely cause. KILLED: somebody else killed it. HUNG: the tasks named
    did not end at their time limits, and it was ended on their account; the others have no part in it.
    """

    CRASHED = "crashed"
    KILLED = "killed"
    HUNG = "hung"


class ReportKind(StrEnum):
    BOOTING = "booting"
    READY = "ready"
    TICK = "tick"
    RECYCLE = "recycle"
    STOPPING = "stopping"
    STOP_ALL = "stop_all"
    QUIET = "quiet"
    RESUME = "resume"
    BOOT_FAILED = "boot_failed"


_WITHOUT_FIELDS = {
    ReportKind.BOOTING,
    ReportKind.RECYCLE,
    ReportKind.STOPPING,
    ReportKind.STOP_ALL,
    ReportKind.QUIET,
    ReportKind.RESUME,
}


class Report(Struct, frozen=True):
    """One line of the status pipe; fields that its kind does not use keep their defaults."""

    kind: ReportKind
    identity: str = ""
    busy: int = 0
    done: int = 0
    waiting: bool | None = None
    message: str = ""
    exit_code: int = 0

    def encode(self) -> bytes:
        match self.kind:
            case ReportKind.READY:
                fields = [_escape(self.identity)]
            case ReportKind.TICK:
                waiting = b"" if self.waiting is None else b"%d" % self.waiting
                fields = [b"%d" % self.busy, b"%d" % self.done, waiting]
            case ReportKind.BOOT_FAILED:
                fields = [b"%d" % self.exit_code, _escape(self.message)]
            case _:
                fields = []
        return b"\t".join([self.kind.encode(), *fields]) + b"\n"


def parse_report(line: bytes) -> Report | None:
    """The report in `line` (without its newline), or None if there is none in it."""
    name, *fields = line.split(b"\t")
    try:
        match ReportKind(name.decode("ascii")), fields:
            case ReportKind.READY, [identity]:
                return Report(ReportKind.READY, identity=_unescape(identity))
            case ReportKind.TICK, [busy, done, waiting]:
                known = bool(int(waiting)) if waiting else None
                return Report(ReportKind.TICK, busy=int(busy), done=int(done), waiting=known)
            case ReportKind.BOOT_FAILED, [code, message]:
                return Report(
                    ReportKind.BOOT_FAILED, exit_code=int(code), message=_unescape(message)
                )
            case kind, [] if kind in _WITHOUT_FIELDS:
                return Report(kind)
    except ValueError:
        pass
    return None


class Link(Struct, frozen=True):
    """
    A child's connection to its parent. Every method may be called from any thread, returns at
    once and never raises, also when the parent is gone.

    lifeline_fd: Readable (end of file) once the parent is dead; the child should then stop as
        it does on TERM. SIGTERM follows a parent's death too, but needs a handler that runs.

    inbox_fd: Non-blocking; lines from the parent: `quiet`, `resume`, and
        `orphan<TAB>identity<TAB>death<TAB>cause` with the identity of a worker that died, how (see
        `Death`) and why, after lines `running<TAB>identity<TAB>name...` with the tasks it was
        running. Read what is left in it before obeying TERM: the last lines come just ahead of the
        signal.

    running: Where a worker notes the tasks whose handlers have started.
    """

    role: ChildRole
    status_fd: int
    lifeline_fd: int
    inbox_fd: int
    running: RunningTable

    def report_booting(self) -> None:
        """Still coming up, for example waiting for Redis; starts the boot deadline anew."""
        self._send(Report(ReportKind.BOOTING))

    def report_ready(self, identity: str = "") -> None:
        """
        At work from now on; call once.

        `identity` is the name under which this process holds tasks (its asynq server id); when
        the process dies, somebody else is told to hand back what that name holds. Empty: nothing.
        """
        self._send(Report(ReportKind.READY, identity=identity))

    def tick(self, busy: int, done: int, waiting: bool | None = None) -> None:
        """
        Alive; call about once a second, from the loop that must not block.

        busy: tasks running now. done: tasks ended since the start.
        waiting: True when there are tasks this process could take now (a slot is free, it is not
        quiet, no limit stands in the way) and has not taken; None when that is not known. A
        process that says True for a minute, while busy and done stay the same, is replaced.
        """
        self._send(Report(ReportKind.TICK, busy=busy, done=done, waiting=waiting))

    def recycle(self) -> None:
        """
        Ask to be replaced; go on working until TERM, which comes once a new child is ready.

        A child that cannot go on returns RECYCLE_EXIT instead and is started again at once.
        """
        self._send(Report(ReportKind.RECYCLE))

    def stop_all(self) -> None:
        """Ask the parent to stop, with all of its children, as it does on TERM."""
        self._send(Report(ReportKind.STOP_ALL))

    def quiet(self, quiet: bool) -> None:
        """An operator made this worker quiet, or ended that: whoever takes its place is to be so too."""
        self._send(Report(ReportKind.QUIET if quiet else ReportKind.RESUME))

    def stopping(self) -> None:
        """About to end in an orderly way; exit code 0 after this is not a crash."""
        self._send(Report(ReportKind.STOPPING))

    def boot_failed(self, message: str, exit_code: int) -> None:
        """
        Cannot come up, and trying again would not help: a missing module, a bad configuration.

        On the first start the supervisor stops everything and exits with `exit_code`; during a
        reload it returns to what ran before. The caller should return `exit_code` next. For a
        trouble that may pass, raise or return a non-zero code without this call.
        """
        self._send(Report(ReportKind.BOOT_FAILED, message=message, exit_code=exit_code))

    def _send(self, report: Report) -> None:
        # A full pipe means a parent that is stopped, an error one that is dead; either way the
        # child's work goes on.
        with suppress(OSError):
            os.write(self.status_fd, report.encode())


ChildMain = Callable[[Link], int]
"""Runs in the forked child; what it returns is the exit code of the process."""


def inbox_line(*fields: str) -> bytes:
    """A line for a child's inbox; tabs and newlines inside a field become spaces."""
    cleaned = (" ".join(field.split()) for field in fields)
    return "\t".join(cleaned).encode()[:LONGEST_TEXT] + b"\n"


def _escape(text: str) -> bytes:
    escaped = text.encode("unicode_escape")
    while len(escaped) > LONGEST_TEXT:
        text = text[: len(text) * 3 // 4]
        escaped = text.encode("unicode_escape")
    return escaped


def _unescape(text: bytes) -> str:
    return text.decode("unicode_escape")
