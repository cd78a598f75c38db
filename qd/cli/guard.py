"""Watch what becomes of tasks that were let run again, and say when it is time to stop."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from qd.cli.render import plural
from qd.cli.session import Session
from qd.durations import format_duration

if TYPE_CHECKING:
    from qd.inspector.views import TaskView

_WATCHED = 1000
"""Tasks under watch at most: the latest."""

_LOOK = 0.1
_BETWEEN_LOOKS = 0.5
"""Seconds between two looks: while canaries run, and while the others are sent."""

_ENOUGH = 10
"""Tasks that must have ended before a share of failures means anything."""


class Guard:
    """
    Counts how many of the tasks that were sent have ended, and how many of those failed again.

    A task that is gone has succeeded. `canary` tasks go ahead and are waited for, `wait` seconds at
    the most; `share` of failures, from 0 to 1, is what may be.
    """

    def __init__(self, session: Session, *, canary: int, share: float, wait: float) -> None:
        self.canary = canary
        self.ended = 0
        self.failed = 0
        self._tasks = session.inspector.tasks
        self._share = share
        self._wait = wait
        self._watched: deque[tuple[str, str, float]] = deque(maxlen=_WATCHED)
        self._looked_at = 0.0

    def sent(self, queue: str, ids: Sequence[str]) -> None:
        """Watch tasks that were put into a queue just now."""
        now = time.time()
        self._watched.extend((queue, one, now) for one in ids)

    def after_canaries(self, asked_to_stop: Callable[[], bool]) -> str:
        """Wait until the first tasks have ended; return why not to go on, or ""."""
        until = time.monotonic() + self._wait
        while True:
            self._look()
            if not self._watched or asked_to_stop():
                break
            if time.monotonic() >= until:
                return (
                    f"{len(self._watched)} of {plural(self.canary, 'canary', 'canaries')} have not "
                    f"ended after {format_duration(self._wait)}"
                )
            time.sleep(_LOOK)
        return self._verdict(1)

    def after_piece(self) -> str:
        """Return why not to go on, or ""."""
        if time.monotonic() - self._looked_at < _BETWEEN_LOOKS:
            return ""
        self._look()
        return self._verdict(_ENOUGH)

    def _verdict(self, enough: int) -> str:
        if self.ended >= enough and self.failed > self._share * self.ended:
            return f"{self.failed} of {self.ended} that have ended have failed again"
        return ""

    def _look(self) -> None:
        self._looked_at = time.monotonic()
        watched = list(self._watched)
        self._watched.clear()
        for queue in {queue for queue, _, _ in watched}:
            mine = [(one, at) for where, one, at in watched if where == queue]
            views = self._tasks.get_many(queue, [one for one, _ in mine])
            for task_id, sent_at in mine:
                view = views.get(task_id)
                if view is not None and not _has_ended(view, sent_at):
                    self._watched.append((queue, task_id, sent_at))
                    continue
                self.ended += 1
                self.failed += view is not None and view.state != "completed"


def _has_ended(view: TaskView, sent_at: float) -> bool:
    if view.state == "retry":
        # One that was snoozed is in this state as well, without having failed.
        failed = view.last_failed_at
        return failed is not None and failed.timestamp() >= int(sent_at)
    return view.state in ("completed", "archived")
