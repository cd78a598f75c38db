"""
Ends runs whose time is over: one look at all of them instead of a timer for each.

First softly, through the handler; if that does not end within the grace, the run is given up and
the process asks to be replaced, for a thread cannot be stopped against its will.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from qd import clock
from qd.runtime.run import Run, Stop
from qd.service import Service

_INTERVAL = 0.1
_IDLE_INTERVAL = 0.5


class TimeLimits:
    """Looks at the running tasks ten times a second, and only while there are any."""

    def __init__(
        self,
        running: Callable[[], Iterable[Run]],
        *,
        hard_grace: float,
        stop_run: Callable[[Run, Stop], None],
        give_up: Callable[[Run], None],
    ) -> None:
        self._running = running
        self._hard_grace = hard_grace
        self._stop_run = stop_run
        self._give_up = give_up
        self._service = Service("time-limits", self._step)
        self.start, self.stop = self._service.start, self._service.stop

    async def _step(self) -> float:
        now, ticks = clock.running(), time.monotonic()
        any_running = False
        for run in list(self._running()):
            any_running = True
            if run.stop is None and run.deadline_at <= now:
                self._stop_run(run, Stop.TIMEOUT)
            elif run.stop is not None and ticks - run.stopped_at > self._hard_grace:
                self._give_up(run)
        return _INTERVAL if any_running else _IDLE_INTERVAL
