"""
What is known about the children, and how reports, deaths and time change it.

Pure: values in, values out; times are seconds of one monotonic clock, passed in.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from qd.supervisor.child import DONE_EXIT, RECYCLE_EXIT, ChildRole, Report, ReportKind


class Limits(Struct, frozen=True):
    """
    Bounds of everything the parent waits for, in seconds unless named otherwise.

    shutdown_timeout: how long a worker may finish its tasks after TERM.
    watchdog: silence after which a ready child is taken for hung; 0 turns this off.
    silence: the same, of a child with tasks that are out of time: one that is alive ends them.
    stall: how long a worker may leave waiting tasks alone; 0 turns this off.
    boot: silence after which a child that is not ready is taken for hung.
    kill_margin: on top of `shutdown_timeout`, and all that the scheduler gets; then KILL.
    abort_grace, quit_grace: from ABRT or QUIT to KILL.
    short_life: a child that dies younger than this, with no task ended, is started again with a
        delay.
    first_delay, longest_delay: the delay doubles from one to the other.
    crash_loop: failed boots in a row, of every worker, after which to give up (a count).
    """

    shutdown_timeout: float = 8.0
    watchdog: float = 30.0
    silence: float = 2.0
    stall: float = 60.0
    boot: float = 30.0
    kill_margin: float = 3.0
    abort_grace: float = 2.0
    quit_grace: float = 2.0
    short_life: float = 10.0
    first_delay: float = 0.5
    longest_delay: float = 30.0
    crash_loop: int = 5


class Slot(NamedTuple):
    """A place for one child; a child and its replacement share it for a while."""

    role: ChildRole
    number: int

    def __str__(self) -> str:
        return f"worker {self.number}" if self.role is ChildRole.WORKER else self.role.value


class ChildState(Struct, frozen=True):
    """
    One living child. A time is None until that has happened.

    seen_at is the last sign of life. stalled_since is the first of the latest ticks that all
    said "tasks are waiting" while nothing was taken or ended. leaving_at: it said by itself that
    it is stopping. overdue: tasks that should have ended, had it been able to see to that.
    """

    pid: int
    slot: Slot
    generation: int
    started_at: float
    seen_at: float
    ready_at: float | None = None
    identity: str = ""
    busy: int = 0
    done: int = 0
    stalled_since: float | None = None
    recycle: bool = False
    overdue: tuple[str, ...] = ()
    boot_failure: tuple[int, str] | None = None
    leaving_at: float | None = None
    term_at: float | None = None
    quit_at: float | None = None
    abort_at: float | None = None
    kill_at: float | None = None

    @property
    def told_to_go(self) -> bool:
        return self.term_at is not None or self.quit_at is not None

    @property
    def ending(self) -> bool:
        """On its way out, for whatever reason."""
        moments = (self.leaving_at, self.abort_at, self.kill_at)
        return self.told_to_go or any(moment is not None for moment in moments)

    @property
    def serving(self) -> bool:
        return self.ready_at is not None and not self.ending

    def after_report(self, report: Report, now: float) -> ChildState:
        seen = replace(self, seen_at=now)
        match report.kind:
            case ReportKind.READY:
                return replace(seen, ready_at=now, identity=report.identity)
            case ReportKind.TICK:
                unmoved = (report.busy, report.done) == (self.busy, self.done)
                since = self.stalled_since if unmoved and self.stalled_since is not None else now
                return replace(
                    seen,
                    busy=report.busy,
                    done=report.done,
                    stalled_since=since if report.waiting else None,
                )
            case ReportKind.RECYCLE:
                return replace(seen, recycle=True)
            case ReportKind.STOPPING:
                return replace(seen, leaving_at=now)
            case ReportKind.BOOT_FAILED:
                return replace(seen, boot_failure=(report.exit_code, report.message))
            case ReportKind.BOOTING | ReportKind.STOP_ALL | ReportKind.QUIET | ReportKind.RESUME:
                return seen

    def excused(self, now: float) -> ChildState:
        """The same child, with its silence so far forgiven."""
        return replace(self, seen_at=now, stalled_since=None)

    def ended_cleanly(self, exit_code: int | None) -> bool:
        """
        Whether an end with `exit_code` (None: killed by a signal) leaves nothing behind.

        Zero alone does not say so: user code that calls `os._exit(0)` ends like that too.
        """
        if exit_code == 0:
            return self.told_to_go or self.leaving_at is not None
        return exit_code in (RECYCLE_EXIT, DONE_EXIT)


class Record(Struct, frozen=True):
    """
    The history of one slot, as far as it decides when to start the next child in it.

    fatal: the last boot failed for good: exit code and message. done: the work is finished, and
    no other child is to be started. ever_ready: some child came up here once.
    """

    short_lives: int = 0
    boot_failures: int = 0
    not_before: float = 0.0
    fatal: tuple[int, str] | None = None
    done: bool = False
    ever_ready: bool = False

    def fresh(self) -> Record:
        return Record(ever_ready=self.ever_ready)

    def after_ready(self) -> Record:
        # The delay stays as it was: a child that comes up and dies at once needs it too.
        return replace(self, boot_failures=0, fatal=None, ever_ready=True)

    def after_failed_fork(self, now: float, limits: Limits) -> Record:
        return self._delayed(now, limits)

    def after_death(
        self, child: ChildState, exit_code: int | None, now: float, limits: Limits
    ) -> Record:
        if exit_code == DONE_EXIT:
            return replace(self.fresh(), done=True)
        if child.told_to_go:
            return self
        if child.ready_at is None:
            failed = replace(self, boot_failures=self.boot_failures + 1, fatal=child.boot_failure)
            return failed._delayed(now, limits)
        # One that got work done, or was ended for a task's sake, is no crash loop, however short its
        # life: to wait would only make the work wait.
        lived = child.done > 0 or bool(child.overdue) or now - child.started_at >= limits.short_life
        if exit_code == RECYCLE_EXIT or lived:
            return self.fresh()
        return self._delayed(now, limits)

    def _delayed(self, now: float, limits: Limits) -> Record:
        # 16 doublings are past any sensible limit, and 2.0**n would overflow one day.
        doubled = limits.first_delay * 2.0 ** min(self.short_lives, 16)
        delay = min(doubled, limits.longest_delay)
        return replace(self, short_lives=self.short_lives + 1, not_before=now + delay)
