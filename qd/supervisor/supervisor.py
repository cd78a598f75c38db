"""
The loop of the parent process.

Signals in -> reap -> read status pipes -> orphans -> plan -> act -> systemd -> sleep until
something happens or the plan asked to be woken. What to do is decided in `plan.py`; here it is
done.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import closing

from qd.errors import ExitCode, QdError
from qd.supervisor.child import ChildMain, ChildRole
from qd.supervisor.family import Family
from qd.supervisor.fork import Lifeline
from qd.supervisor.notify import Announcer, Notifier
from qd.supervisor.orphans import RETRY_AFTER
from qd.supervisor.plan import (
    AbandonReload,
    Abort,
    Action,
    Kill,
    Quit,
    Replace,
    Spawn,
    Stop,
    StopMode,
    Terminate,
    Wanted,
    all_serving,
    plan,
)
from qd.supervisor.setup import Reloaded, Setups
from qd.supervisor.signals import SignalInbox
from qd.supervisor.state import Limits

__all__ = ["Limits", "Reloaded", "Supervisor", "Wanted"]

# Nothing is due this often; it only bounds what a mistake in a plan could cost.
_LONGEST_SLEEP = 30.0
# A wake-up later than this means that the parent, or the whole machine, was stopped.
_OVERSLEPT = 1.0
_STDERR = 2


class Supervisor:
    """
    Keeps `workers` worker processes running, and one scheduler and one monitor if they have a main.

    worker_main, scheduler_main, monitor_main: run in forked children; `Link` says what they owe the parent.
    workers: 0 supervises the scheduler alone.
    shutdown_timeout: seconds a worker may finish its tasks after TERM; it is killed 3 s later.
    watchdog: seconds of silence after which a ready child gets ABRT, and KILL 2 s later; 0: never.
    reload: called on HUP; returns what to run from now on, or None, or raises, for "no change".
    reopen_logs: called on USR1, before the children get theirs.
    limits: the other bounds; its own `shutdown_timeout` and `watchdog` are not used.
    """

    def __init__(
        self,
        *,
        worker_main: ChildMain,
        scheduler_main: ChildMain | None,
        workers: int,
        shutdown_timeout: float = 8.0,
        watchdog: float = 30.0,
        log: logging.Logger | None = None,
        monitor_main: ChildMain | None = None,
        reload: Callable[[], Reloaded | None] | None = None,
        reopen_logs: Callable[[], None] | None = None,
        notifier: Notifier | None = None,
        limits: Limits | None = None,
    ) -> None:
        first = Reloaded(
            worker_main, scheduler_main, workers, monitor_main, shutdown_timeout, watchdog
        )
        self._setups = Setups(first, limits or Limits())
        self._log = log or logging.getLogger("qd.supervisor")
        self._reload = reload
        self._reopen_logs = reopen_logs
        self._announcer = Announcer(notifier or Notifier())
        self._stop_mode: StopMode | None = None
        self._exit_code = int(ExitCode.OK)
        self._quiet = False
        self._complete = False

    def run(self) -> int:
        """
        Run until told to stop; returns the exit code of the program.

        Call it once, from the main thread of a process without other threads. The signal
        handlers it installs stay.
        """
        with closing(SignalInbox()) as signals, closing(Lifeline()) as lifeline:
            self._signals = signals
            self._family = Family(self._log, lifeline=lifeline, parents_fds=signals.fds)
            signals.open()
            return self._loop()

    def _loop(self) -> int:
        readable: set[int] = set()
        expected_at = time.monotonic()
        while True:
            now = time.monotonic()
            for number in self._signals.drain():
                self._obey(number, now)
            self._family.reap(now, self._setups.current.limits)
            self._family.read(readable, now)
            if self._family.asked_to_stop and self._stop_mode is None:
                self._stop(StopMode.DRAIN, "an operator asked for it")
            # Only after reading: what a child reported while the parent was away is not silence.
            if now - expected_at > _OVERSLEPT:
                self._log.warning("the supervisor itself did not run for %.1f s", now - expected_at)
                self._family.excuse(now)
            next_overdue = self._family.watch_tasks(time.time())
            inbox_full = self._family.deliver_orphans(now)
            if self._stop_mode is not None and not self._family:
                return self._finish()
            moments = [
                now + _LONGEST_SLEEP,
                self._step(now),
                self._announce(now),
                self._family.print_next(now),
            ]
            if inbox_full:
                moments.append(now + RETRY_AFTER)
            if next_overdue is not None:
                moments.append(now + next_overdue)
            expected_at = min(moment for moment in moments if moment is not None)
            readable = self._wait(max(0.0, expected_at - time.monotonic()))

    def _step(self, now: float) -> float | None:
        """Carry out one plan; when to make the next one."""
        step = plan(
            self._setups.current.wanted,
            self._family.states(),
            self._family.records,
            now,
            limits=self._setups.current.limits,
            stopping=self._stop_mode,
            can_go_back=self._setups.can_go_back,
        )
        for action in step.actions:
            self._act(action, now)
        return now if step.actions else step.wake_at

    def _announce(self, now: float) -> float | None:
        states = self._family.states()
        wanted = self._setups.current.wanted
        complete = self._stop_mode is None and all_serving(wanted, states)
        if complete and not self._complete:
            self._setups.settle()
            self._log.info("all %d children are ready", len(states))
        self._complete = complete
        workers = [child for child in states if child.slot.role is ChildRole.WORKER]
        status = f"{sum(child.serving for child in workers)} of {wanted.workers} workers ready"
        if self._stop_mode is not None:
            status = f"stopping, {sum(child.busy for child in workers)} tasks still running"
        elif self._quiet:
            status += ", quiet"
        return self._announcer.tell(complete=complete, status=status, now=now)

    def _wait(self, seconds: float) -> set[int]:
        """Sleep until a signal or a report comes in; the descriptors that can be read."""
        poll = select.poll()
        for fd in (self._signals.fd, *self._family.status_fds()):
            poll.register(fd, select.POLLIN)
        # Rounded up: to wake a moment too early would only mean to plan for nothing.
        return {fd for fd, _ in poll.poll(int(seconds * 1000) + 1 if seconds > 0 else 0)}

    def _obey(self, number: signal.Signals, now: float) -> None:
        match number:
            case signal.SIGTERM | signal.SIGINT:
                again = self._stop_mode is not None
                self._stop(StopMode.NOW if again else StopMode.DRAIN, f"{number.name} received")
            case signal.SIGQUIT:
                self._stop(StopMode.NOW, f"{number.name} received")
            case signal.SIGUSR1:
                if self._reopen_logs is not None:
                    self._reopen_logs()
                self._family.reopen_logs(now)
            case signal.SIGUSR2:
                os.write(_STDERR, f"\n-- supervisor (pid {os.getpid()}) --\n".encode())
                faulthandler.dump_traceback(file=_STDERR)
                self._family.ask_for_stacks(now)
            # systemd sends CONT after TERM: nothing below may change a stop under way.
            case _ if self._stop_mode is not None:
                return
            case signal.SIGTSTP | signal.SIGCONT:
                self._set_quiet(number is signal.SIGTSTP)
            case signal.SIGTTIN:
                self._change_workers(+1)
            case signal.SIGTTOU:
                self._change_workers(-1)
            case signal.SIGHUP:
                self._on_reload()

    def _stop(self, mode: StopMode, reason: str) -> None:
        level = logging.ERROR if self._exit_code else logging.INFO
        self._log.log(level, "stopping (%s): %s", mode, reason)
        self._stop_mode = mode
        limits = self._setups.current.limits
        # Workers first and the scheduler after them, each with its margin, and one for ourselves.
        self._announcer.stopping(within=limits.shutdown_timeout + 3 * limits.kill_margin)

    def _finish(self) -> int:
        if self._family.orphans:
            self._log.warning(
                "nobody was left to hand back the tasks of %d dead workers; "
                "they run elsewhere when their leases end",
                len(self._family.orphans),
            )
        self._log.info("stopped, exit code %d", self._exit_code)
        return self._exit_code

    def _on_reload(self) -> None:
        self._announcer.reloading()
        try:
            reloaded = self._reload() if self._reload is not None else None
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, go on as before
            hint = f" ({error.hint})" if isinstance(error, QdError) and error.hint else ""
            self._log.error("nothing was reloaded: %s%s", error, hint)
            return
        if reloaded is None:
            self._log.info("nothing was reloaded")
            return
        self._setups.adopt(reloaded)
        self._family.forget_failures()
        self._complete = False
        self._log.info("reloaded; children are replaced one by one")

    def _change_workers(self, by: int) -> None:
        wanted = self._setups.current.wanted.workers
        # A supervisor without workers was asked for the scheduler alone, and has no use for one.
        if wanted == 0 or wanted + by < 1:
            self._log.warning("still %d workers wanted: that is the least", wanted)
            return
        self._setups.want_workers(wanted + by)
        self._log.info("%d workers wanted", wanted + by)

    def _set_quiet(self, quiet: bool) -> None:
        if quiet != self._quiet:
            self._quiet = quiet
            self._family.set_quiet(quiet)
            self._log.info("quiet: no new tasks" if quiet else "resumed")

    def _act(self, action: Action, now: float) -> None:
        match action:
            case Spawn(slot):
                self._family.spawn(slot, self._setups.current, now)
            case AbandonReload(reason):
                self._log.error("the reload is undone: %s", reason)
                self._setups.go_back()
                self._family.forget_failures()
            case Stop(exit_code, reason):
                self._exit_code = exit_code
                self._stop(StopMode.NOW, reason)
            case Quit(pid):
                self._family[pid].quit(now)
            case Terminate() | Abort() | Kill() | Replace():
                self._urge(action, now)

    def _urge(self, action: Terminate | Abort | Kill | Replace, now: float) -> None:
        child = self._family[action.pid]
        level = logging.INFO if isinstance(action, Terminate) else logging.ERROR
        what = type(action).__name__.lower()
        self._log.log(
            level, "%s (pid %d): %s, %s", child.state.slot, child.pid, what, action.reason
        )
        match action:
            case Terminate():
                child.terminate(now)
            case Abort():
                child.abort(now)
            case Kill():
                child.kill(now)
            case Replace():
                child.replace_soon()
