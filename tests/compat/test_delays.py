"""Delayed tasks and groups of one side come to life on the other."""

from __future__ import annotations

import time

import pytest
import redis

from tests.compat.asynq import Asynq, Steps, from_b64
from tests.compat.peer import PATIENCE, Peer, kill_all
from tests.compat.test_tools import rows
from tests.support.wait import eventually

pytestmark = pytest.mark.compat

EAGER = {"group": {"grace_period": "1s"}}


def test_delayed_tasks_are_forwarded_by_whoever_is_there(
    asynq: Asynq, steps: Steps, peer: Peer, raw: redis.Redis
) -> None:
    """qd's by Go, Go's by qd: handled once, and not before the second that is stored."""
    due = time.time() + 2
    peer.client.enqueue("ok", task_id="qd", queue="a", process_in=2)
    steps.enqueue("ok", id="go", queue="b", process_in=2)
    assert raw.zscore("asynq:{a}:scheduled", "qd") == pytest.approx(int(due), abs=1)
    assert raw.zscore("asynq:{a}:scheduled", "qd").is_integer()
    (row,) = rows(asynq.cli("task", "ls", "--queue=a", "--state=scheduled"))
    assert row[0] == "qd"
    assert row[-1].startswith("in ") or row[-1] == "right now"
    at = {
        "qd": raw.zscore("asynq:{a}:scheduled", "qd"),
        "go": raw.zscore("asynq:{b}:scheduled", "go"),
    }
    work = asynq.work(
        queues={"a": 1}, log=peer.journal.path, task_check=0.02, delayed_check=0.1, count=1
    )
    with work as worker, peer.working({"b": 1}):
        worker.wait()
        for task_id in ("qd", "go"):
            started = peer.journal.wait("start", task_id)["time"]
            assert at[task_id] <= started < at[task_id] + 5
    assert peer.journal.counts("start") == {"qd": 1, "go": 1}


def test_a_retry_of_one_side_is_run_by_the_other(steps: Steps, peer: Peer) -> None:
    steps.start_server(retry_delay=1)
    peer.client.enqueue("ok", b"x", task_id="t1", max_retry=3, headers={"k": "v"})
    steps.wait_active("t1")
    steps.end("t1", "fail", error="not here")
    steps.stop_server()
    with peer.working():
        seen = peer.journal.wait("start", "t1")
    assert (seen["retried"], seen["max_retry"], seen["headers"]) == (1, 3, {"k": "v"})


def test_go_merges_a_group_that_qd_has_filled(steps: Steps, peer: Peer, raw: redis.Redis) -> None:
    for payload in (b"one", b"two"):
        peer.client.enqueue("t", payload, group="g1")
    assert steps.inspect("groups") == [{"group": "g1", "size": 2}]
    steps.maintain("default", {"pending": 1, "groups": 0}, aggregate=True, group_grace=1)
    (task,) = steps.inspect("list-pending")
    assert sorted((from_b64(task["payload_b64"]) or b"").split(b"\n")) == [b"one", b"two"]
    assert len(raw.keys("asynq:*:t:*")) == 1
    assert raw.keys("asynq:{default}:g*") == raw.keys("asynq:{default}:agg*") == []


def test_qd_merges_a_group_that_go_has_filled(steps: Steps, peer: Peer, raw: redis.Redis) -> None:
    for payload in ("one", "two"):
        steps.enqueue("t", payload=payload, group="g1")
    assert [(one.name, one.size) for one in peer.inspector.groups.list("default")] == [("g1", 2)]
    with peer.working(scheduler=EAGER):
        eventually(lambda: peer.journal.events("end"), PATIENCE)
        (merged,) = peer.journal.events("start")
        assert sorted((from_b64(merged["payload_b64"]) or b"").split(b"\n")) == [b"one", b"two"]
        steps.wait_queue("default", size=0, groups=0)
    assert raw.keys("asynq:*:t:*") == []
    assert raw.keys("asynq:{default}:g*") == raw.keys("asynq:{default}:agg*") == []


@pytest.mark.parametrize("reclaimer", ["go", "qd"])
def test_a_set_that_a_dead_process_was_merging_is_merged_in_the_end(
    steps: Steps, peer: Peer, raw: redis.Redis, reclaimer: str
) -> None:
    """Whoever puts it back into its group: the group is listed again, where asynq forgets that."""
    steps.enqueue("t", payload="one", group="stuck")
    with peer.processes(scheduler=EAGER) as proc:
        eventually(lambda: raw.zcard("asynq:{default}:aggregation_sets"), PATIENCE)
        kill_all(proc)
    assert not raw.exists("asynq:{default}:groups")
    (name,) = raw.zrange("asynq:{default}:aggregation_sets", 0, -1)
    # Two minutes later.
    raw.zadd("asynq:{default}:aggregation_sets", {name: 1})
    if reclaimer == "go":
        steps.start_server(queues={"default": 1})
        eventually(lambda: not raw.exists(name), PATIENCE)
        assert not raw.exists("asynq:{default}:groups")
        steps.stop_server()
        # It is listed again once a task joins it, whichever side that comes from.
        peer.client.enqueue("t", b"two", group="stuck")
    else:
        with peer.working(scheduler={"group": {"grace_period": "1h"}}):
            eventually(lambda: not raw.exists(name), PATIENCE)
    assert raw.smembers("asynq:{default}:groups") == {b"stuck"}
    steps.maintain("default", {"pending": 1, "groups": 0}, aggregate=True, group_grace=1)
    assert raw.keys("asynq:{default}:g*") == []
