"""
All children: born, listened to, buried.

Knows nothing about what should run; keeps the history (`records`) from which the plan decides.
"""

from __future__ import annotations

import logging
import os
import signal
from collections import deque
from collections.abc import Iterable

from msgspec.structs import replace

from qd import failpoint
from qd.supervisor import linux
from qd.supervisor.child import Death, Report, ReportKind, inbox_line
from qd.supervisor.fork import Lifeline, fork_child
from qd.supervisor.orphans import Orphans
from qd.supervisor.process import Child
from qd.supervisor.reaper import Ending, adopts_strangers, reap, reap_strangers
from qd.supervisor.setup import Setup
from qd.supervisor.state import ChildState, Limits, Record, Slot

_STDERR = 2
# Seconds that a child has for printing its stacks before the next one is asked.
_PRINTING = 0.1


class Family:
    """parents_fds: what no child may keep open, apart from the pipes of its brothers."""

    def __init__(
        self, log: logging.Logger, *, lifeline: Lifeline, parents_fds: Iterable[int]
    ) -> None:
        self._log = log
        self._lifeline = lifeline
        self._parents_fds = list(parents_fds)
        self._adopts_strangers = adopts_strangers()
        self._children: dict[int, Child] = {}
        self._quiet = False
        self._quiet_slots: set[Slot] = set()
        self.asked_to_stop = False
        self._reopened_at: float | None = None
        self.records: dict[Slot, Record] = {}
        self._last_failure = ""
        self._oom_kills = linux.oom_kills()
        self._to_print: deque[int] = deque()
        self._print_at = 0.0
        self.orphans = Orphans()

    def __len__(self) -> int:
        return len(self._children)

    def __getitem__(self, pid: int) -> Child:
        return self._children[pid]

    def states(self) -> list[ChildState]:
        return [child.state for child in self._children.values()]

    def status_fds(self) -> list[int]:
        fds = (child.status_fd for child in self._children.values())
        return [fd for fd in fds if fd is not None]

    def spawn(self, slot: Slot, setup: Setup, now: float) -> None:
        """Start a child; if the system has no process to give, the slot is tried again later."""
        pipes = [fd for child in self._children.values() for fd in child.fds]
        try:
            forked = fork_child(
                slot.role,
                setup.main_for(slot.role),
                lifeline=self._lifeline,
                parents_fds=[*self._parents_fds, *pipes],
            )
        except OSError as error:
            self.records[slot] = self._record(slot).after_failed_fork(now, setup.limits)
            self._log.error("%s cannot be started now: %s", slot, error)
            return
        failpoint.hit("fork.after")
        generation = setup.wanted.generation
        state = ChildState(forked.pid, slot, generation, started_at=now, seen_at=now)
        self._children[forked.pid] = Child(forked, state)
        self._log.info("%s (pid %d) started", slot, forked.pid)

    def reap(self, now: float, limits: Limits) -> None:
        """Collect those that have ended, and see to what each one leaves behind."""
        for child in list(self._children.values()):
            ending = reap(child.pid)
            if ending is not None:
                failpoint.hit("reap.after")
                # Drained first: it may have said that it was ready, or why it could not be.
                self._note(child, child.read_all(now))
                del self._children[child.pid]
                self._bury(child, ending, now, limits)
                child.close()
        if self._adopts_strangers:
            reap_strangers(self._children)

    def read(self, readable: set[int], now: float) -> None:
        for child in self._children.values():
            if child.status_fd in readable:
                self._note(child, child.read(now))

    def watch_tasks(self, now: float) -> float | None:
        """
        Note which children have tasks that are out of time at *now* (Unix seconds).

        Returns the seconds until the next one is; None if there is none that will be.
        """
        moments: list[float | None] = []
        for child in self._ready():
            # What made an end of a child necessary stays noted until it is buried.
            if not child.state.ending:
                child.state = replace(child.state, overdue=tuple(child.running.overdue(now)))
                moments.append(child.running.next_overdue(now))
        return min((moment - now for moment in moments if moment is not None), default=None)

    def deliver_orphans(self, now: float) -> bool:
        """Pass on the news of deaths; True if that must be tried again."""
        return self.orphans.deliver(self._children.values(), now)

    def excuse(self, now: float) -> None:
        """While the parent itself did not run, its children may have been stopped as well."""
        for child in self._children.values():
            child.state = child.state.excused(now)

    def forget_failures(self) -> None:
        self.records = {slot: record.fresh() for slot, record in self.records.items()}

    def set_quiet(self, quiet: bool) -> None:
        self._quiet = quiet
        self._quiet_slots.clear()
        # Lines keep their order, and a child that becomes ready later gets one too; a signal
        # would be lost on a child that has no handler yet.
        line = inbox_line("quiet" if quiet else "resume")
        for child in self._ready():
            child.send(line)

    def reopen_logs(self, now: float) -> None:
        self._reopened_at = now
        # Without a handler yet, USR1 would kill: such a child gets it when it is ready.
        for child in self._ready():
            child.signal(signal.SIGUSR1)

    def ask_for_stacks(self, now: float) -> None:
        """Have all children print their stacks, one after the other."""
        self._to_print.extend(self._children)
        self._print_at = now

    def print_next(self, now: float) -> float | None:
        """Let the next child print its stacks if it is time; when to call again."""
        if self._to_print and now >= self._print_at:
            child = self._children.get(self._to_print.popleft())
            if child is not None:
                os.write(_STDERR, f"\n-- {child.state.slot} (pid {child.pid}) --\n".encode())
                child.signal(signal.SIGUSR2)
            self._print_at = now + _PRINTING
        return self._print_at if self._to_print else None

    def _ready(self) -> list[Child]:
        return [child for child in self._children.values() if child.state.ready_at is not None]

    def _record(self, slot: Slot) -> Record:
        return self.records.get(slot, Record())

    def _note(self, child: Child, reports: list[Report]) -> None:
        state = child.state
        for report in reports:
            match report.kind:
                case ReportKind.READY:
                    self._log.info("%s (pid %d) is ready", state.slot, state.pid)
                    self.records[state.slot] = self._record(state.slot).after_ready()
                    if self._quiet or state.slot in self._quiet_slots:
                        child.send(inbox_line("quiet"))
                    if self._reopened_at is not None and state.started_at <= self._reopened_at:
                        child.signal(signal.SIGUSR1)
                case ReportKind.BOOT_FAILED:
                    self._tell_failure(child, report.message)
                case ReportKind.RECYCLE:
                    self._log.info("%s (pid %d) asks to be replaced", state.slot, state.pid)
                case ReportKind.STOP_ALL:
                    self.asked_to_stop = True
                case ReportKind.QUIET:
                    self._quiet_slots.add(state.slot)
                case ReportKind.RESUME:
                    self._quiet_slots.discard(state.slot)

    def _tell_failure(self, child: Child, message: str) -> None:
        # All children run the same code and fail alike: said in full once, not by each of them.
        first_line, _, details = message.partition("\n")
        details = "" if message == self._last_failure else details
        self._last_failure = message
        slot, pid = child.state.slot, child.state.pid
        self._log.error("%s (pid %d): %s", slot, pid, first_line, extra={"details": details})

    def _bury(self, child: Child, ending: Ending, now: float, limits: Limits) -> None:
        dead = replace(child.state, done=max(child.state.done, int(child.running.any_ended)))
        record = self._record(dead.slot)
        self.records[dead.slot] = record.after_death(dead, ending.exit_code, now, limits)
        if dead.ended_cleanly(ending.exit_code):
            self._log.info("%s (pid %d) ended", dead.slot, dead.pid)
            return
        # One that was told to go before it had handlers dies of the TERM itself.
        level = logging.INFO if dead.told_to_go and dead.ready_at is None else logging.ERROR
        self._log.log(level, "%s (pid %d) ended: %s", dead.slot, dead.pid, ending)
        if dead.identity:
            death = self._judge(dead, ending)
            running = dead.overdue if death is Death.HUNG else child.running.read()
            self.orphans.add(dead.identity, death, str(ending), running)
        self.orphans.take_back(dead.pid, now)

    def _judge(self, dead: ChildState, ending: Ending) -> Death:
        before, self._oom_kills = self._oom_kills, linux.oom_kills()
        if dead.overdue and (dead.abort_at or dead.kill_at):
            return Death.HUNG
        # A KILL that came neither from here nor for want of memory says little about the tasks.
        out_of_memory = self._oom_kills != before
        if ending.signal == signal.SIGKILL and dead.kill_at is None and not out_of_memory:
            return Death.KILLED
        return Death.CRASHED
