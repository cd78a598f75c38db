"""Operations that read what scripts have noted of the tasks they moved (see `qd.protocol.timeline`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from qd.protocol import keys
from qd.protocol.op import Op, command, script, text
from qd.protocol.scripts import Script

PAGE = 1000
"""Entries that one step reads at most."""

_VALUES = 10

_READ_EVENTS = Script("read_events")
_READ_TIMELINE = Script("read_timeline")


class Entry(NamedTuple):
    """
    One transition as it is stored; `at` is the id of the entry, which begins with milliseconds.

    `before` and `after` are states, empty where there is none. `attempt` is the run that the task
    is in or has ended, or the one that comes next. `by` is host and process id. `next_at` is Unix
    seconds, empty if it was not said.
    """

    queue: str
    at: str
    task_id: str
    trace: str
    type: str
    before: str
    after: str
    step: str
    attempt: str
    by: str
    reason: str
    next_at: str

    @property
    def order(self) -> tuple[int, int]:
        """What entries of different queues are sorted by."""
        milliseconds, _, number = self.at.partition("-")
        return int(milliseconds), int(number or 0)


def since(queue: str, at: str, *, limit: int = PAGE) -> Op[list[Entry]]:
    """Up to *limit* entries of a queue after the one with the id *at*, the oldest first."""
    return script(
        _READ_EVENTS,
        [keys.events(queue)],
        ["XRANGE", f"({at}", "+", limit],
        lambda reply: _entries(queue, reply),
    )


def latest(queue: str, before: str, *, limit: int = PAGE) -> Op[list[Entry]]:
    """Up to *limit* entries of a queue, the latest first; *before* an entry, or all if that is empty."""
    return script(
        _READ_EVENTS,
        [keys.events(queue)],
        ["XREVRANGE", f"({before}" if before else "+", "-", limit],
        lambda reply: _entries(queue, reply),
    )


def wait(after: Mapping[str, str], *, milliseconds: int) -> Op[list[Entry]]:
    """
    Wait for entries after those with the given ids by queue; none if none comes in time.

    Not for a cluster, where queues are on different nodes.
    """
    queues = {keys.events(queue): queue for queue in after}

    def parse(reply: Any) -> list[Entry]:
        return [one for key, found in reply or () for one in _entries(queues[text(key)], found)]

    # The keys are in the middle of this command.
    name = f"XREAD COUNT {PAGE} BLOCK {milliseconds} STREAMS"
    return command(name, list(queues), list(after.values()), parse)


def of_task(queue: str, task_id: str) -> Op[tuple[str, list[Entry]]]:
    """The state of a task, empty if there is none, and the latest of its entries, oldest first."""
    return script(
        _READ_TIMELINE,
        [keys.events(queue), keys.events_of_task(queue, task_id), keys.task(queue, task_id)],
        [],
        lambda reply: (text(reply[0]), _entries(queue, reply[1:])),
    )


def tasks_of_trace(queue: str, trace: str) -> Op[list[str]]:
    """The ids of the tasks of a trace in one queue."""
    return command(
        "SMEMBERS",
        [keys.events_of_trace(queue, trace)],
        [],
        lambda reply: sorted(map(text, reply)),
    )


def _entries(queue: str, reply: Any) -> list[Entry]:
    return [_entry(queue, text(at), fields) for at, fields in reply]


def _entry(queue: str, at: str, fields: list[bytes]) -> Entry:
    # In the order in which `lua/lib/note.lua` writes them. Most are looked at only to be passed over.
    values = [text(value) for value in fields[1:20:2]]
    if len(values) < _VALUES or not values[6].isdigit():
        # Written by somebody else. Not left out: whoever follows must get past it.
        return Entry(queue, at, "", "", "", "", "", "unreadable", "0", "", "", "")
    # Cut after so many bytes, perhaps within a character.
    values[8] = fields[17].decode("utf-8", "ignore")
    return Entry(queue, at, *values)
