"""Operations as bytes: what both kinds of link send, and how they deal with unknown scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import hiredis

from qd.protocol.op import Op


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


def pack(commands: Sequence[tuple[Any, ...]]) -> bytes:
    """Return the bytes of several commands, to be sent at once."""
    return b"".join(hiredis.pack_command(one) for one in commands)
