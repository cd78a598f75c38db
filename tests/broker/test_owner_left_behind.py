"""A Go server may retry the task of a dead worker of qd; the owner it leaves behind is forgotten."""

from __future__ import annotations

import pytest
import redis

from qd.broker.link import Link
from qd.protocol import keys
from qd.protocol.op import Op
from qd.protocol.ops import inspect_tasks, upkeep
from qd.protocol.ops.inspect import Container
from qd.protocol.ops.inspect_tasks import Rewrite
from qd.protocol.state import TaskState
from tests.support.builders import NOW, NOW_NS, message

FORWARD = upkeep.forward("mail", TaskState.RETRY, now_ns=NOW_NS, limit=10)
RUN = inspect_tasks.run(Container("mail", TaskState.RETRY), [Rewrite("t1")], now_ns=NOW_NS)


@pytest.mark.parametrize("step", [FORWARD, RUN], ids=["forward", "run"])
def test_the_next_lease_of_a_go_server_is_not_taken_for_qds(
    step: Op[object], link: Link, raw: redis.Redis
) -> None:
    fields = {"msg": message("t1"), "state": "retry", "qd_owner": "worker-1"}
    raw.hset(keys.task("mail", "t1"), mapping=fields)
    raw.zadd(keys.retry("mail"), {"t1": NOW})
    link.execute(step)
    assert not raw.hexists(keys.task("mail", "t1"), "qd_owner")

    # As asynq's dequeue writes it.
    raw.lmove(keys.pending("mail"), keys.active("mail"), "RIGHT", "LEFT")
    raw.hset(keys.task("mail", "t1"), "state", "active")
    raw.zadd(keys.lease("mail"), {"t1": NOW + 30})
    assert link.execute(upkeep.expired("mail", now=NOW + 59, limit=10)) == []
    assert [one.id for one in link.execute(upkeep.expired("mail", now=NOW + 60, limit=10))] == [
        "t1"
    ]
