"""Operations of the test kit, on a server that is its alone: everything in Redis is reached."""

from __future__ import annotations

from typing import Any

from qd.protocol import keys
from qd.protocol.op import Op, command, script
from qd.protocol.scripts import Script

_MOVE_CLOCK = Script("move_clock")


def empty() -> Op[bool]:
    """Delete everything."""
    return command("FLUSHALL", [], ["SYNC"], bool)


def move_clock(*, to: int, passed: float) -> Op[int]:
    """
    Let it be *to* (Unix seconds), *passed* seconds later than before; returns how many keys that ended.

    Scripts of links that were opened while the clock stood still go by it. What has a time to live has
    as much less of it.
    """
    return script(_MOVE_CLOCK, [keys.CLOCK], [to, int(passed * 1000)], int, repeatable=not passed)


def first_after(key: str, now: float) -> Op[float | None]:
    """The lowest score of a sorted set above *now*."""

    def parse(reply: Any) -> float | None:
        return float(reply[1]) if reply else None

    return command(
        "ZRANGE", [key], [f"({now}", "+inf", "BYSCORE", "LIMIT", 0, 1, "WITHSCORES"], parse
    )


def to_the_head(queue: str, task_id: str) -> list[Op[int]]:
    """Let a pending task be the next of its queue."""
    pending = keys.pending(queue)
    return [
        command("LREM", [pending], [1, task_id], int),
        command("RPUSH", [pending], [task_id], int),
    ]
