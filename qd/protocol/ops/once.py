"""Operations of the ledger of side effects, see `ctx.once`. Times in milliseconds."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from qd.protocol import keys
from qd.protocol.op import Argument, Op, script
from qd.protocol.scripts import Script

_BEGIN = Script("once_begin")
_END = Script("once_end")
_DROP = Script("once_drop")


class Claim(Struct, frozen=True):
    """Who does something: one call, in one run, of one task (`queue id`)."""

    task: str
    run: str
    call: str


class Begun(Struct, frozen=True):
    """
    What the ledger says. `done`: it has happened, and left `result` (JSON, maybe empty).

    `mine`: it is the caller's to do. `doubt`: an earlier run has begun it, and nobody knows whether it
    got there. None of the three: somebody else is at it.
    """

    done: bool = False
    mine: bool = False
    doubt: bool = False
    result: bytes = b""


def begin(key: str, claim: Claim, *, now: int, until: int, keep: int, doubt: bool) -> Op[Begun]:
    """Claim what *key* names until *until*; without *doubt*, only if no earlier run may have done it."""

    def parse(reply: Any) -> Begun:
        match reply:
            case [b"done", result]:
                return Begun(done=True, result=result)
            case [b"mine", before]:
                return Begun(mine=True, doubt=before == b"1")
            case [b"doubt"]:
                return Begun(doubt=True)
        return Begun()

    args: list[Argument] = [claim.task, claim.run, claim.call, now, until, keep, int(doubt)]
    return script(_BEGIN, [keys.once(key)], args, parse)


def end(key: str, result: bytes, *, keep: int) -> Op[bytes]:
    """Note that it has happened; returns the result that is kept: that of whoever said so first."""
    return script(_END, [keys.once(key)], [result, keep], bytes)


def drop(key: str, claim: Claim) -> Op[bool]:
    """Give up a claim; False if it was taken over, or the thing is done."""
    return script(_DROP, [keys.once(key)], [claim.call], bool)
