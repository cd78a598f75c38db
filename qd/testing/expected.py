"""Which stored tasks are those that a test expects, and what to say when there are none. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from qd import jsoncodec
from qd.suggest import did_you_mean
from qd.testing.stored import StoredTask

_SHOWN = 20
ANY: Any = object()
"""Stands for a field that a test says nothing of."""


@dataclass(frozen=True)
class Expected:
    """What a test says of a task; `due_at` is in whole seconds, as tasks are."""

    type: str
    payload: Any = ANY
    queue: str | None = None
    state: str | None = None
    due_at: datetime | None = None

    def differences(self, task: StoredTask) -> list[str]:
        """In what *task* is not the one expected, a line each."""
        found = []
        if task.type != self.type:
            found.append(f"type: expected {self.type!r}, is {task.type!r}")
        for name, wanted in (("queue", self.queue), ("state", self.state)):
            actual = getattr(task, name)
            if wanted is not None and actual != wanted:
                found.append(f"{name}: expected {wanted!r}, is {actual!r}")
        if self.due_at is not None:
            wanted_at = self.due_at.replace(microsecond=0)
            if task.next_at != wanted_at:
                is_at = "now" if task.next_at is None else f"{task.next_at:%Y-%m-%d %H:%M:%S}"
                found.append(f"due: expected {wanted_at:%Y-%m-%d %H:%M:%S}, is {is_at}")
        if self.payload is not ANY:
            found += _payload_differences("payload", self.payload, task.payload)
        return found

    def __str__(self) -> str:
        words = [f"task {self.type!r}"]
        if self.payload is not ANY:
            words.append(f"with {self.payload!r} in its payload")
        if self.queue is not None:
            words.append(f"in queue {self.queue!r}")
        if self.state is not None:
            words.append(f"in state {self.state}")
        if self.due_at is not None:
            words.append(f"due at {self.due_at:%Y-%m-%d %H:%M:%S}")
        return " ".join(words)


def complaint(
    expected: Expected,
    tasks: Sequence[StoredTask],
    *,
    wanted: str,
    found: int,
    known_types: Sequence[str],
    ran: int,
) -> str:
    """Say what was *wanted*, how many were *found*, what came nearest, and what else there is."""
    lines = [f"{wanted} {expected}; there {'is' if found == 1 else 'are'} {found or 'none'}."]
    if not found and expected.type not in (*known_types, *(one.type for one in tasks)):
        lines.append(
            f"No handler takes this type, either.{did_you_mean(expected.type, known_types)}"
        )
    if not found and ran:
        times = "once" if ran == 1 else f"{ran} times"
        lines.append(f"A task of this type has run already, {times}: see what drain() returned.")
    nearest = _nearest(expected, tasks) if not found else None
    if nearest is not None:
        lines += ["", f"The nearest: {nearest}"]
        lines += [f"    {one}" for one in expected.differences(nearest)]
    lines.append("")
    if not tasks:
        lines.append("Nothing is enqueued.")
    else:
        lines.append("Enqueued:")
        lines += [f"    {one}" for one in tasks[:_SHOWN]]
        if len(tasks) > _SHOWN:
            lines.append(f"    ... and {len(tasks) - _SHOWN} more")
    return "\n".join(lines)


def _nearest(expected: Expected, tasks: Sequence[StoredTask]) -> StoredTask | None:
    """The task with the fewest differences; another type counts more than all else."""
    if not tasks:
        return None

    def distance(task: StoredTask) -> tuple[bool, int]:
        return task.type != expected.type, len(expected.differences(task))

    best = min(tasks, key=distance)
    same = best.type == expected.type or expected.payload is not ANY
    return best if same else None


def _payload_differences(where: str, wanted: Any, actual: Any) -> list[str]:
    if isinstance(wanted, Mapping):
        if not isinstance(actual, Mapping):
            return [f"{where}: expected {wanted!r}, is {actual!r}"]
        found = []
        for name, value in wanted.items():
            inner = f"{where}.{name}"
            if name not in actual:
                found.append(f"{inner}: expected {value!r}, is missing")
            else:
                found += _payload_differences(inner, value, actual[name])
        return found
    # An object such as `mock.ANY` says itself what it is equal to.
    if wanted == actual:
        return []
    try:
        plain = jsoncodec.loads(jsoncodec.dumps(wanted))
    except TypeError:
        plain = wanted
    if plain == actual:
        return []
    if isinstance(plain, Mapping) and not isinstance(wanted, Mapping):
        return _payload_differences(where, plain, actual)
    return [f"{where}: expected {wanted!r}, is {actual!r}"]
