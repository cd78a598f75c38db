"""The active list after an ending: without what ended, and all else in the order it had."""

from __future__ import annotations

import random

import pytest
import redis

from qd.protocol import keys
from qd.protocol.ops.endings import Fate
from tests.support.builders import Queue

ACTIVE = keys.active("mail")


def ids(raw: redis.Redis) -> list[str]:
    return [one.decode() for one in raw.lrange(ACTIVE, 0, -1)]


@pytest.mark.parametrize("seed", range(40))
def test_only_what_ended_is_taken_out(queue: Queue, raw: redis.Redis, seed: int) -> None:
    draw = random.Random(seed)
    stored = [f"t{n:03}" for n in range(draw.choice((5, 40, 700)))]
    some = {one.id: one for start in range(0, len(stored), 100)
            for one in queue.hold(*stored[start : start + 100])}  # fmt: skip
    # From one end, from the other, or from all over; in an order of their own.
    count = draw.randint(1, min(100, len(stored)))
    pool = draw.choice((stored[:120], stored[-120:], stored))
    chosen = draw.sample(pool, min(count, len(pool)))
    before = ids(raw)
    assert before == stored[::-1]
    assert queue.done([some[one] for one in chosen]) == [Fate.OK] * len(chosen)
    assert ids(raw) == [one for one in before if one not in chosen]


def test_what_is_listed_twice_is_taken_out_once(queue: Queue, raw: redis.Redis) -> None:
    some = queue.hold("t1", "t2", "t3", "t4", "t5")
    raw.rpush(ACTIVE, "t2")
    assert queue.done([*some[:4], some[0]]) == [Fate.OK] * 4 + [Fate.STALE]
    assert ids(raw) == ["t5", "t2"]
