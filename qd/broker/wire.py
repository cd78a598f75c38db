"""Operations as bytes: what both kinds of link send, and how they deal with unknown scripts."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Any

import hiredis
from msgspec.structs import replace

from qd import clock
from qd.protocol.op import Op
from qd.protocol.timeline import Timeline, noted


class Dialect:
    """
    What one server understands. Servers before 7.0 take scripts without flags only.

    Found out when the first flagged script is refused, so that no version has to be parsed.
    """

    __slots__ = ("plain",)

    def __init__(self) -> None:
        self.plain = False

    def command(self, op: Op[Any]) -> tuple[Any, ...]:
        """The operation as it is usually sent: a script by its digest."""
        if op.script is None:
            return (*op.name.split(" "), *op.keys, *op.args)
        return (
            "EVALSHA",
            op.script.plain_sha if self.plain else op.script.sha,
            len(op.keys),
            *op.keys,
            *op.args,
        )

    def in_full(self, op: Op[Any]) -> tuple[Any, ...]:
        """The operation with the whole script, which the server remembers."""
        if op.script is None:
            return self.command(op)
        return (
            "EVAL",
            op.script.plain if self.plain else op.script.text,
            len(op.keys),
            *op.keys,
            *op.args,
        )

    def refused_flags(self, sent: tuple[Any, ...], error: BaseException) -> bool:
        """True if *error* says that the server cannot compile the flags of what was *sent*."""
        # Looked up in what was sent: another thread may have found out in the meantime.
        if sent[0] != "EVAL" or not sent[1].startswith("#") or "ompil" not in str(error):
            return False
        self.plain = True
        return True


class _NotingDialect(Dialect):
    """The same, but the scripts note what they move."""

    __slots__ = ("_host", "_timeline")

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self._timeline = timeline
        by = f"{timeline.user}@" if timeline.user else ""
        self._host = by + socket.gethostname()

    def command(self, op: Op[Any]) -> tuple[Any, ...]:
        return super().command(self._noted(op))

    def in_full(self, op: Op[Any]) -> tuple[Any, ...]:
        return super().in_full(self._noted(op))

    def _noted(self, op: Op[Any]) -> Op[Any]:
        # Asked each time: a link may be carried over a fork.
        return noted(op, self._timeline, f"{self._host}:{os.getpid()}")


class _KitDialect(Dialect):
    """What *inner* speaks, but the scripts go by the clock of a test kit."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Dialect) -> None:
        super().__init__()
        self._inner = inner

    def command(self, op: Op[Any]) -> tuple[Any, ...]:
        return self._inner.command(_for_kit(op))

    def in_full(self, op: Op[Any]) -> tuple[Any, ...]:
        return self._inner.in_full(_for_kit(op))

    def refused_flags(self, sent: tuple[Any, ...], error: BaseException) -> bool:
        return self._inner.refused_flags(sent, error)


def _for_kit(op: Op[Any]) -> Op[Any]:
    return op if op.script is None else replace(op, script=op.script.for_kit)


def dialect(timeline: Timeline | None) -> Dialect:
    """Return what a new link speaks; it notes what is moved if a timeline is kept."""
    usual = Dialect() if timeline is None else _NotingDialect(timeline)
    return _KitDialect(usual) if clock.stands_still() else usual


def pack(commands: Sequence[tuple[Any, ...]]) -> bytes:
    """Return the bytes of several commands, to be sent at once."""
    return b"".join(hiredis.pack_command(one) for one in commands)
