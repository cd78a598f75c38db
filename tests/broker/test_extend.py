"""extend: the leases of running tasks are renewed."""

from __future__ import annotations

import redis

from qd.broker.link import Link
from qd.protocol import keys
from qd.protocol.ops import endings
from qd.protocol.ops.endings import Fate, Held
from tests.support.builders import OWNER, UNTIL, Queue, held
from tests.support.snapshot import changes, snapshot


def test_only_the_ends_of_the_leases_change(queue: Queue, link: Link, raw: redis.Redis) -> None:
    some = queue.hold("t1", "t2", "t3")
    before = snapshot(raw)
    step = endings.extend("mail", OWNER, some[:2], lease_until=UNTIL + 5)
    assert link.execute(step) == [Fate.OK, Fate.OK]
    assert changes(before, snapshot(raw)) == {
        "asynq:{mail}:lease": {"t1": UNTIL + 5, "t2": UNTIL + 5, "t3": UNTIL}
    }


def test_an_answer_that_was_lost_can_be_asked_for_again(queue: Queue, link: Link) -> None:
    queue.hold("t1")
    step = endings.extend("mail", OWNER, [Held("t1", UNTIL, UNTIL + 5)], lease_until=UNTIL + 5)
    assert link.execute(step) == link.execute(step) == [Fate.OK]


def test_a_lease_that_was_lost_is_written_again(queue: Queue, link: Link, raw: redis.Redis) -> None:
    some = queue.hold("t1")
    raw.delete(keys.lease("mail"))
    link.execute(endings.extend("mail", OWNER, some, lease_until=UNTIL + 5))
    assert raw.zscore(keys.lease("mail"), "t1") == UNTIL + 5


def test_thousands_at_once(queue: Queue, link: Link, raw: redis.Redis) -> None:
    ids = [f"t{n}" for n in range(2500)]
    for start in range(0, 2500, 100):
        queue.hold(*ids[start : start + 100])
    step = endings.extend("mail", OWNER, held(*ids), lease_until=UNTIL + 5)
    assert link.execute(step) == [Fate.OK] * 2500
    assert raw.zcount(keys.lease("mail"), UNTIL + 5, UNTIL + 5) == 2500
