"""What is to run now, and what ran before the latest reload, in case that fails."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from qd.supervisor.child import ChildMain, ChildRole
from qd.supervisor.plan import Wanted
from qd.supervisor.state import Limits


class Reloaded(Struct, frozen=True):
    """
    What to run: the mains of the children and how many workers.

    shutdown_timeout, watchdog: seconds, as for `Supervisor`; None keeps what holds now.
    """

    worker_main: ChildMain
    scheduler_main: ChildMain | None
    workers: int
    monitor_main: ChildMain | None = None
    shutdown_timeout: float | None = None
    watchdog: float | None = None


class Setup(Struct, frozen=True):
    """One generation. TTIN and TTOU change `wanted` without making it another one."""

    source: Reloaded
    wanted: Wanted
    limits: Limits

    def main_for(self, role: ChildRole) -> ChildMain:
        source = self.source
        mains = {
            ChildRole.WORKER: source.worker_main,
            ChildRole.SCHEDULER: source.scheduler_main,
            ChildRole.MONITOR: source.monitor_main,
        }
        return mains[role] or source.worker_main


class Setups:
    """The current setup, and the one before it while children of both are running."""

    def __init__(self, first: Reloaded, limits: Limits) -> None:
        self._generations = 0
        self._before: Setup | None = None
        self.current = self._made(first, limits)

    @property
    def can_go_back(self) -> bool:
        return self._before is not None

    def adopt(self, source: Reloaded) -> None:
        """Make `source` the current setup; its children replace the running ones."""
        # In a second reload during the first, the older setup is the one known to work.
        self._before = self._before or self.current
        self.current = self._made(source, self.current.limits)

    def go_back(self) -> None:
        """Undo the reload under way; without one, change nothing."""
        self.current, self._before = self._before or self.current, None

    def settle(self) -> None:
        """The current setup works: forget the one before."""
        self._before = None

    def want_workers(self, workers: int) -> None:
        self.current = replace(self.current, wanted=replace(self.current.wanted, workers=workers))

    def _made(self, source: Reloaded, limits: Limits) -> Setup:
        wanted = Wanted(
            source.workers,
            scheduler=source.scheduler_main is not None,
            monitor=source.monitor_main is not None,
            generation=self._generations,
        )
        self._generations += 1
        if source.shutdown_timeout is not None:
            limits = replace(limits, shutdown_timeout=source.shutdown_timeout)
        if source.watchdog is not None:
            limits = replace(limits, watchdog=source.watchdog)
        return Setup(source, wanted, limits)
