"""requeue: a worker that stops puts its tasks back at the head of their line."""

from __future__ import annotations

import redis

from qd.broker.link import Link
from qd.protocol import keys
from qd.protocol.ops import endings
from qd.protocol.ops.endings import Fate
from tests.support.builders import NOW_NS, OWNER, Queue, message
from tests.support.snapshot import snapshot


def test_it_is_as_if_the_task_had_never_been_taken(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    some = queue.hold("t1")
    raw.delete(keys.fetch("mail", OWNER))
    assert link.execute(endings.requeue("mail", OWNER, some, now_ns=NOW_NS + 1)) == [Fate.OK]
    assert snapshot(raw) == {
        "asynq:{mail}:pending": ["t1"],
        "asynq:{mail}:t:t1": {
            "msg": message("t1"),
            "state": b"pending",
            "pending_since": str(NOW_NS + 1).encode(),
        },
    }


def test_the_last_one_given_is_the_next_to_run(queue: Queue, link: Link) -> None:
    older, younger = queue.hold("older", "younger")
    queue.enqueue("new")
    link.execute(endings.requeue("mail", OWNER, [younger, older], now_ns=NOW_NS))
    taken = queue.take(3, nonce="n2")
    assert taken is not None
    assert [one.id for one in taken] == ["older", "younger", "new"]
