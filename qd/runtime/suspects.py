"""
Who may start beside whom: a task that has seen a worker die runs alone for a while.

Should this worker die too, there is then no doubt about the culprit, and no other task is blamed
for it. The others wait, but never for long: a suspect that has run for some seconds without harm
gets company again, and one that finds others running waits for them only so long.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

from qd.runtime.run import Run

_WAIT = 10.0
"""Seconds a suspect waits for the running tasks to end before it starts beside them."""

_ALONE = 10.0
"""Seconds a suspect has the process for itself."""


class Suspects:
    """
    Decides for one process when a task starts. *start* starts one, *others* tells whether any runs,
    *on_released* hears when a suspect that goes on running lets others start again.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        start: Callable[[Run], None],
        others: Callable[[], bool],
        on_released: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._start = start
        self._others = others
        self._on_released = on_released
        self._suspects: deque[Run] = deque()
        self._held_up: list[Run] = []
        self._alone: Run | None = None
        self.any = False
        """True while there is something to decide; asked for every task, so it is kept."""
        self._patience: asyncio.TimerHandle | None = None

    @property
    def exclusive(self) -> bool:
        """True while a suspect runs alone or waits to: nothing more should be fetched."""
        return self._alone is not None or bool(self._suspects)

    def __len__(self) -> int:
        """How many tasks have not started because of this."""
        return len(self._suspects) + len(self._held_up)

    def admit(self, run: Run) -> None:
        """Start a task now, or once it may."""
        if run.deaths:
            self.any = True
            self._suspects.append(run)
            self._next()
        elif self.exclusive:
            self._held_up.append(run)
        else:
            self._start(run)

    def ended(self, run: Run) -> None:
        """A task has ended: a suspect may have its turn, or those it held up."""
        if self._alone is run:
            self._alone = None
        if self._suspects or self._held_up:
            self._go_on()
        self.any = self.exclusive or bool(self._held_up)

    def take_waiting(self) -> list[Run]:
        """Return the tasks that have not started, which then never will."""
        waiting = [*self._suspects, *self._held_up]
        self._suspects.clear()
        self._held_up.clear()
        return waiting

    def _go_on(self) -> None:
        self._next()
        if not self.exclusive:
            held_up, self._held_up = self._held_up, []
            for run in held_up:
                self._start(run)

    def _next(self, *, patient: bool = True) -> None:
        if self._alone is not None or not self._suspects:
            return
        if patient and self._others():
            if self._patience is None:
                self._patience = self._loop.call_later(_WAIT, partial(self._next, patient=False))
            return
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        self._alone = suspect = self._suspects.popleft()
        self._start(suspect)
        self._loop.call_later(_ALONE, self._end_alone, suspect)

    def _end_alone(self, suspect: Run) -> None:
        if self._alone is suspect:
            self._alone = None
            self._go_on()
            self._on_released()
