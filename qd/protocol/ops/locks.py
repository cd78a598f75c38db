"""Operations of named locks."""

from __future__ import annotations

from qd.protocol import keys
from qd.protocol.op import Op, command, script, text
from qd.protocol.scripts import Script

_ACQUIRE = Script("lock_acquire")
_EXTEND = Script("lock_extend")
_RELEASE = Script("lock_release")


def acquire(name: str, owner: str, *, ttl_ms: int, dead: str = "") -> Op[bool]:
    """Take a lock if it is free, or if *dead* still has it. Safe to repeat with the same *owner*."""
    return script(_ACQUIRE, [keys.lock(name)], [owner, ttl_ms, dead], bool)


def holder(name: str) -> Op[str]:
    """Who has a lock; empty if nobody has."""
    return command("GET", [keys.lock(name)], [], lambda reply: "" if reply is None else text(reply))


def extend(name: str, owner: str, *, ttl_ms: int) -> Op[bool]:
    """Keep a lock for *ttl_ms* more from now; False when it is not the owner's any more."""
    return script(_EXTEND, [keys.lock(name)], [owner, ttl_ms], bool)


def release(name: str, owner: str) -> Op[bool]:
    """Give a lock back; False when it was not the owner's any more."""
    return script(_RELEASE, [keys.lock(name)], [owner], bool)
