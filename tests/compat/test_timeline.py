"""A timeline beside Go: what qd moves is told, of Go's tasks as well; what Go moves is a gap."""

from __future__ import annotations

import pytest
import redis

from qd.inspector.timeline import UNSEEN
from tests.compat.asynq import Asynq
from tests.compat.peer import PATIENCE, Peer
from tests.support.wait import eventually

pytestmark = pytest.mark.compat

KEEP = {"timeline": {"keep": "1h"}}
QUICK = {"task_check": 0.02}


def way(peer: Peer, task_id: str) -> list[tuple[str | None, str | None, str]]:
    found = peer.inspector.timeline.of_task(task_id)
    return [(one.before, one.after, one.step) for one in found]


def test_a_task_of_go_run_by_qd_is_known_from_then_on(asynq: Asynq, peer: Peer) -> None:
    asynq.enqueue("ok", id="t1", headers={"traceparent": "request-1"})
    with peer.working(**KEEP):
        peer.journal.wait("end", "t1")
        eventually(lambda: way(peer, "t1")[-1][2] == "done", PATIENCE)
    assert way(peer, "t1") == [
        (None, "pending", UNSEEN),
        ("pending", "active", "dequeue"),
        ("active", None, "done"),
    ]
    assert [one.type for one in peer.inspector.timeline.of_trace("request-1")] == ["ok", "ok"]


def test_a_task_of_qd_run_by_go_has_a_gap(asynq: Asynq, peer: Peer, raw: redis.Redis) -> None:
    app = peer.app(**KEEP)
    app.client.enqueue("ok", task_id="t1")
    app.client.enqueue("fail", task_id="t2")
    app.close()
    with asynq.work(log=peer.journal.path, **QUICK):
        eventually(lambda: raw.hget("asynq:{default}:t:t2", "state") == b"retry", PATIENCE)
        eventually(lambda: not raw.exists("asynq:{default}:t:t1"), PATIENCE)
    assert way(peer, "t1") == [(None, "pending", "enqueue"), ("pending", None, UNSEEN)]
    assert way(peer, "t2") == [(None, "pending", "enqueue"), ("pending", "retry", UNSEEN)]
