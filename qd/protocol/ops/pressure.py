"""Queues with an upper bound: tasks are taken in only as long as there is room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from qd.protocol import keys
from qd.protocol.op import Argument, Op, script, text
from qd.protocol.ops.tasks import Refused
from qd.protocol.scripts import Script

_BOUNDED = {
    name: Script("bounded", around=name) for name in ("enqueue", "schedule", "add_to_group")
}
_PRESSURE = Script("pressure")

REFUSED = "refused"
DROPPED = "dropped"


class Marks(Struct, frozen=True):
    """
    Sizes of a queue, in tasks: from `warning` and from `critical` on it has that level.

    A level is left `margin` tasks below its mark. At `critical` no task is taken in.
    """

    warning: int
    critical: int
    margin: int


class Pressure(Struct, frozen=True):
    """The size of a queue, its level (ok, warning, critical), and the one that it had before."""

    size: int
    before: str
    level: str


class Admission(Struct, frozen=True):
    """What became of each task, as for `tasks.enqueue`, and of the queue."""

    refusals: list[Refused | None]
    pressure: Pressure


def bounded(
    op: Op[list[Refused | None]], queue: str, marks: Marks, *, count_as: str, now: int
) -> Op[Admission]:
    """
    Do what *op* does (`enqueue`, `schedule` or `add_to_group`) as far as the queue has room. Atomic.

    *count_as*: `REFUSED` or `DROPPED`, or "" for tasks that will be tried again. Repeating it after a
    lost answer is safe: what was taken in says so, by its id.
    """
    head, width = _shape(op)
    args: list[Argument] = [*_marks(marks), count_as, now, head, width, *op.args]

    def parse(reply: Any) -> Admission:
        seen = _pressure(reply[:3])
        full = Refused(full=seen.size)
        others = iter(op.parse([one for one in reply[3] if one != b"f"]))
        return Admission([full if one == b"f" else next(others) for one in reply[3]], seen)

    return script(_BOUNDED[op.name], [*_keys(queue), *op.keys], args, parse)


def look(queue: str, marks: Marks, *, now: int) -> Op[Pressure]:
    """Note how full a queue is now. Of all who look, one sees a level change."""
    return script(_PRESSURE, _keys(queue), [*_marks(marks), now], _pressure)


def _keys(queue: str) -> list[str | bytes]:
    return [
        keys.pending(queue),
        keys.active(queue),
        keys.scheduled(queue),
        keys.retry(queue),
        keys.pressure(queue),
    ]


def _marks(marks: Marks) -> Sequence[int]:
    return marks.warning, marks.critical, marks.margin


def _shape(op: Op[Any]) -> tuple[int, Argument]:
    """How many arguments come before the tasks, and how many each task has."""
    if op.name == "enqueue":
        return 3, op.args[2]
    return (1, 6) if op.name == "schedule" else (3, 5)


def _pressure(reply: Any) -> Pressure:
    size, before, level = reply
    return Pressure(size, text(before), text(level))
