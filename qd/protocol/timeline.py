"""
The timeline: each transition of a task is noted by the script that makes it, if a link is told to.

A link that keeps a timeline sends other texts of the scripts that move tasks (`scripts`), with a key and
arguments more. Without one, not a byte is different.
"""

from __future__ import annotations

from typing import TypeVar

from msgspec import Struct

from qd.protocol import keys
from qd.protocol.op import Op, text

T = TypeVar("T")

MOST_OF_TASK = 100
"""Transitions of one task that are found by its id."""


class Timeline(Struct, frozen=True):
    """
    How to keep one: for `keep` seconds, and about `most` transitions of each queue.

    `header` is that of a task whose value is, or in W3C's form has, the id of its trace. `user` is the
    person who moves tasks by hand.
    """

    keep: float
    most: int
    header: str
    user: str = ""


def noted(op: Op[T], timeline: Timeline, by: str) -> Op[T]:
    """Return *op*, noting what it moves as moved by *by*; as it is if it moves no task."""
    noting = op.script.noting if op.script is not None else None
    if noting is None:
        return op
    queue = keys.queue_of(text(op.keys[0]))
    terms = (
        keys.task_prefix(queue),
        (noting.around or op.name) if op.name == noting.name else op.name,
        by,
        max(int(timeline.keep * 1000), 1),
        timeline.most,
        MOST_OF_TASK,
        timeline.header,
    )
    where = (*op.keys, keys.events(queue))
    return Op(op.name, noting, where, (*op.args, *terms), op.parse, op.repeatable)
