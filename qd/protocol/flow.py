"""
How the tasks of a flow are named: by the flow and a number, in their id and in a header.

The links of a flow are numbered from 1. Joins, which are no tasks, have negative numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from qd.protocol.message import TaskMessage

HEADER = "qd-flow"
"""A task with this header is a link; its value is the flow and the number, as in `0197c0de:3`."""

_BEGIN = "flow:"


class Place(NamedTuple):
    """One link of a flow."""

    flow: str
    number: int

    @property
    def task_id(self) -> str:
        return f"{_BEGIN}{self.flow}:{self.number}"

    @property
    def header(self) -> str:
        return f"{self.flow}:{self.number}"


def place_of_id(task_id: str) -> Place | None:
    """Return what a task's id says of its place in a flow; None if it is the id of no link."""
    return _parse(task_id[len(_BEGIN) :]) if task_id.startswith(_BEGIN) else None


def place_in(task_id: str, headers: Sequence[tuple[str, str]]) -> Place | None:
    """Return the place of a task in its flow; None for all that are no links."""
    place = next((_parse(text) for name, text in headers if name == HEADER), None)
    # A copy under another id is no link: the flow knows nothing of it.
    return place if place is not None and place.task_id == task_id else None


def place_of(message: TaskMessage) -> Place | None:
    """`place_in` of a message."""
    headers = message.terms.headers
    return place_in(message.id, headers) if headers else None


def _parse(text: str) -> Place | None:
    flow, _, number = text.rpartition(":")
    return Place(flow, int(number)) if flow and number.isdecimal() else None
