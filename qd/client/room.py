"""Queues with an upper bound, as producers meet them: the rule of each, and waiting for room."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from qd.client.compose import Composed
from qd.client.info import TaskInfo
from qd.errors import QdError, QueueFull
from qd.protocol.ops.pressure import DROPPED, REFUSED, Marks, Pressure

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.5

_log = logging.getLogger("qd.backpressure")


class Rule(Struct, frozen=True):
    """The bound of one queue. *policy* is refuse, wait (at most *wait* seconds) or drop."""

    marks: Marks
    max_size: int
    policy: str
    wait: float

    def count_as(self, *, again: bool) -> str:
        """How the script counts what finds no room, which may be tried *again*."""
        if self.policy == "drop":
            return DROPPED
        return "" if self.policy == "wait" and again else REFUSED


class PressureChange(Struct, frozen=True):
    """
    A queue has another level than before: ok, warning or critical.

    `size` tasks wait or run in it, of `max_size`. Of all processes, one sees each change.
    """

    queue: str
    level: str
    before: str
    size: int
    max_size: int


OnPressure = Callable[[PressureChange], None]


class QueueBounds:
    """The rules of queues by name, as stored, and who is told of a change of level."""

    def __init__(
        self, rule_of: Callable[[str], Rule | None], hooks: Sequence[OnPressure] = ()
    ) -> None:
        self._rule_of = rule_of
        self._rules: dict[str, Rule | None] = {}
        self._hooks = hooks

    def of(self, queue: str) -> Rule | None:
        """Return the rule of a queue, None if it has no bound."""
        if queue not in self._rules:
            self._rules[queue] = self._rule_of(queue)
        return self._rules[queue]

    def note(self, queue: str, rule: Rule, seen: Pressure) -> None:
        """Tell of a change of level, if this is one. A hook that fails is logged."""
        if seen.level == seen.before:
            return
        level = logging.WARNING if seen.level == "critical" else logging.INFO
        text = "queue %s was %s and is %s: %d tasks of %d"
        _log.log(level, text, queue, seen.before, seen.level, seen.size, rule.max_size)
        change = PressureChange(queue, seen.level, seen.before, seen.size, rule.max_size)
        for hook in self._hooks:
            try:
                hook(change)
            except Exception:  # noqa: BLE001 - the user's; the tasks are in already
                _log.exception("a hook for back-pressure failed")


class Room:
    """
    Tasks that found no room and may wait for some: tries them again, until each has had its time.

    `outcomes` are those of all tasks, and get better as some are taken in.
    """

    def __init__(
        self,
        bounds: QueueBounds,
        tasks: Sequence[Composed | QdError],
        outcomes: list[TaskInfo | QdError],
    ) -> None:
        self._tasks = tasks
        self.outcomes = outcomes
        self._until: dict[int, float] = {}
        now = time.monotonic()
        for place, (task, outcome) in enumerate(zip(tasks, outcomes, strict=True)):
            if isinstance(outcome, QueueFull) and isinstance(task, Composed):
                rule = bounds.of(task.queue)
                if rule is not None and rule.policy == "wait":
                    self._until[place] = now + rule.wait
        self._pause = _FIRST_PAUSE

    @property
    def awaited(self) -> bool:
        """True if some task may still get room."""
        return bool(self._until)

    def tries(self) -> Iterator[tuple[float, list[int], bool]]:
        """
        Yield how many seconds to wait, the places of the tasks to try then, and if there is another try.

        What came of it is to be given to `note` before the next.
        """
        while self._until:
            now = time.monotonic()
            last = min(self._until.values())
            pause = min(self._pause, max(0.0, last - now))
            again = now + pause < last
            due = [place for place, until in self._until.items() if again or until <= now + pause]
            yield pause, due, again
            if not again:
                for place in due:
                    self._until.pop(place, None)
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def note(self, places: Sequence[int], outcomes: Sequence[TaskInfo | QdError]) -> None:
        for place, outcome in zip(places, outcomes, strict=True):
            self.outcomes[place] = outcome
            if not isinstance(outcome, QueueFull):
                del self._until[place]

    def task(self, place: int) -> Composed:
        task = self._tasks[place]
        assert isinstance(task, Composed)  # noqa: S101 - only those are waited for
        return task
