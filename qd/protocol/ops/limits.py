"""Operations on limits: may a task start, who goes next. Limits hold over all queues and hosts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct

from qd.protocol import keys
from qd.protocol.op import Argument, Op, command, script, text
from qd.protocol.ops import endings
from qd.protocol.scripts import Script

_ASK = Script("limit_ask")
_FREE = Script("limit_free")
_LOOK = Script("limit_look")
_RENEW = Script("limit_renew")
_SET = Script("limit_set")
_SHOW = Script("limit_show")

_SHOWN = 1000
"""Slots and keys that are shown of one limit."""


class Bounds(Struct, frozen=True):
    """What a limit allows: starts per second, so many at once, tasks at a time. 0 = any."""

    name: str
    rate: float = 0.0
    burst: int = 1
    slots: int = 0


class Member(Struct, frozen=True):
    """
    A task under a limit: the key of its hash, and the key of the limit that it counts for.

    In line, tasks of one `turn` come one after the other, and turns one task each, if it has one.
    """

    task: str
    key: str
    turn: str = ""


class Asked(Struct, frozen=True):
    """
    Whether tasks may start: from 0, in so many seconds; below, not before they are called, and they
    should ask again in -n seconds if nobody calls them. `has_slots`: their ends are to be reported;
    `has_rate`: they may start at their moment only, not later.
    """

    has_slots: bool
    has_rate: bool
    answers: list[float]


class Line(Struct, frozen=True):
    """Tasks that wait for one key: how many, how many of them were called, the first one."""

    key: str
    waiting: int
    called: int
    first: str


class Slot(Struct, frozen=True):
    """A task that has a slot, and the worker process that runs it."""

    task: str
    owner: str
    key: str


class Shown(Struct, frozen=True):
    """
    What goes on at a limit. `set_by_hand`: rate, burst, slots, where an operator has set them;
    `keys`: those for which tasks wait. Of many, the first thousand are in `slots` and `lines`.
    """

    set_by_hand: Mapping[str, str]
    keys: int
    running: int
    slots: list[Slot]
    lines: list[Line]


def _bounds(of: Bounds) -> list[Argument]:
    return [keys.limit_prefix(of.name), repr(of.rate), of.burst, of.slots]


def _members(reply: Any) -> list[Member]:
    fields = iter(reply)
    return [Member(text(task), text(key)) for task, key in zip(fields, fields, strict=True)]


def ask(
    of: Bounds, owner: str, members: Sequence[Member], missed: Collection[Member] = ()
) -> Op[Asked]:
    """
    Let taken tasks start, or stand in line. Atomic; first come, first served for each key.

    *missed* are those that could start before and were late: they get the next moment there is.

    Sent twice, a task keeps its slot or its place, but counts twice for the rate.
    """
    args: list[Argument] = [*_bounds(of), owner]
    for one in members:
        args += (one.task, one.key, int(one in missed), one.turn)
    return script(
        _ASK,
        [keys.limit_due(of.name)],
        args,
        lambda reply: Asked(
            bool(reply[0]), bool(reply[1]), [n / 1e6 if n >= 0 else n for n in reply[2:]]
        ),
    )


def free(
    of: Bounds, members: Sequence[Member], *, owner: str = "", unused: bool = False
) -> Op[list[Member]]:
    """
    Take back the slots of tasks that have ended; returns the tasks that are called in their place.

    With an *owner*: only slots that it has. Without: also the places in the line, of tasks that will
    not come. *unused* gives back what they took of the rate. Safe to repeat but for that.
    """
    args: list[Argument] = [*_bounds(of), owner, int(unused)]
    for one in members:
        args += (one.task, one.key)
    return script(_FREE, [keys.limit_due(of.name)], args, _members, repeatable=not unused)


def look(of: Bounds) -> Op[tuple[float | None, list[Member]]]:
    """
    Call those who can go by now, up to 500. Safe to repeat.

    Returns when to look again (in so many seconds, None if nobody waits), and who is called.
    """
    return script(
        _LOOK,
        [keys.limit_due(of.name)],
        _bounds(of),
        lambda reply: (None if reply[0] < 0 else reply[0] / 1e6, _members(reply[1:])),
    )


def due(name: str) -> Op[Any]:
    """Read when the next key of a limit is to be looked at; to be told when that changes."""
    return command("ZRANGE", [keys.limit_due(name)], [0, 0], lambda reply: reply)


def renew(name: str, owner: str, tasks: Sequence[str]) -> Op[int]:
    """Keep the slots that *owner* has for these tasks. Safe to repeat."""
    return script(_RENEW, [keys.limit_held(name)], [keys.limit_prefix(name), owner, *tasks], int)


def set_by_hand(name: str, values: Mapping[str, float]) -> Op[int]:
    """Set rate, burst or slots for everybody, now; with nothing, forget what was set. Safe to repeat."""
    args: list[Argument] = []
    for what, value in values.items():
        args += (what, repr(value))
    return script(_SET, [keys.limit_due(name), keys.limit_set(name)], args, int)


def show(name: str) -> Op[Shown]:
    """Read what goes on at a limit; changes nothing."""

    def parse(reply: Any) -> Shown:
        by_hand, waiting, running, slots, lines = reply
        pairs = iter(by_hand)
        held = iter(slots)
        found = iter(lines)
        return Shown(
            {text(name): text(value) for name, value in zip(pairs, pairs, strict=True)},
            waiting,
            running,
            [Slot(text(a), text(b), text(c)) for a, b, c in zip(held, held, held, strict=True)],
            [
                Line(text(key), n, called, text(first))
                for key, n, called, first in zip(found, found, found, found, strict=True)
            ],
        )

    return script(
        _SHOW,
        [keys.limit_due(name), keys.limit_held(name), keys.limit_set(name)],
        [keys.limit_prefix(name), _SHOWN],
        parse,
    )


def place(name: str, member: Member) -> Op[int | None]:
    """How many tasks are ahead of one in the line of its key; None if it does not stand there."""
    return command(
        "ZRANK",
        [keys.limit_line(name, member.key)],
        [member.task],
        lambda reply: None if reply is None else int(reply),
    )


def publish(documents: Mapping[str, bytes]) -> Op[int]:
    """Make limits known to tools, by name, as JSON. Safe to repeat."""
    args = [value for pair in documents.items() for value in pair]
    return command("HSET", [keys.LIMITS], args, int)


def published() -> Op[dict[str, bytes]]:
    """Read the limits that workers have made known."""

    def parse(reply: Any) -> dict[str, bytes]:
        # RESP3 has a map, RESP2 has names and values one after the other.
        pairs = reply.items() if isinstance(reply, dict) else zip(*[iter(reply)] * 2, strict=True)
        return {text(name): document for name, document in pairs}

    return command("HGETALL", [keys.LIMITS], [], parse)


def withdraw(name: str) -> Op[int]:
    """Take a limit off the list that tools show. Safe to repeat."""
    return command("HDEL", [keys.LIMITS], [name], int)


def wake(members: Sequence[Member], *, now_ns: int) -> list[Op[list[Member]]]:
    """Bring tasks that were called to the head of their queues; each returns those that do not come."""
    by_queue: dict[str, dict[str, Member]] = {}
    for one in members:
        queue = keys.queue_of(one.task)
        by_queue.setdefault(queue, {})[one.task[len(keys.task_prefix(queue)) :]] = one
    return [_wake(queue, by_id, now_ns) for queue, by_id in by_queue.items()]


def _wake(queue: str, by_id: Mapping[str, Member], now_ns: int) -> Op[list[Member]]:
    step = endings.unpark(queue, list(by_id), now_ns=now_ns)

    def parse(reply: Any) -> list[Member]:
        return [by_id[task_id] for task_id in step.parse(reply)]

    return script(endings.UNPARK, step.keys, step.args, parse)
