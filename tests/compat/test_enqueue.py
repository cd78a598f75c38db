"""What one side enqueues is what the other would have enqueued, and what its handlers get."""

from __future__ import annotations

import contextlib
import datetime as dt
import gc
import json
from pathlib import Path
from typing import Any

import pytest
import redis

import qd
from tests.compat.asynq import Asynq, AsynqError, Steps, from_b64
from tests.compat.peer import Peer
from tests.support.server_groups import ClusterServers

pytestmark = pytest.mark.compat

LATER = dt.datetime(2100, 1, 1, 12, tzinfo=dt.UTC)

# Options as qd names them; asynqctl has other words for two of them.
OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "every-one": {
        "queue": "low",
        "max_retry": 3,
        "timeout": 90,
        "deadline": LATER,
        "unique": 3600,
        "retention": 86400,
        "headers": {"traceparent": "00-äöü"},
    },
    "deadline-alone": {"deadline": LATER},
    "timeout-alone": {"timeout": 1},
    "no-retry": {"max_retry": 0},
    "scheduled": {"process_at": LATER},
    "scheduled-unique": {"process_in": 3600, "unique": 60},
    "group": {"group": "g1", "retention": 60},
    "group-unique": {"group": "g1", "unique": 60},
    "group-scheduled": {"group": "g1", "process_at": LATER},
}

# What qd writes into the hash where asynq forgets it: a task that is to join its group when it is
# due, and one whose lock is to be released when an operator deletes it.
ADDED = {"group-scheduled": {"group"}, "group-unique": {"unique_key"}}

PAYLOADS: dict[str, bytes | None] = {
    "nil": None,
    "empty": b"",
    "json": b'{"user_id":42}',
    "binary": bytes(range(256)),
}


def in_words_of_asynq(options: dict[str, Any]) -> dict[str, Any]:
    return {("id" if name == "task_id" else name): value for name, value in options.items()}


def comparable(dump: dict[str, Any]) -> dict[str, Any]:
    """A dump without what the clock has put in: scores and TTLs may differ by a second or two."""
    rough: dict[str, Any] = {}
    for key, entry in dump.items():
        value = entry["value"]
        if entry["type"] == "zset":
            value = [[member, score // 10] for member, score in value]
        elif "pending_since" in value:
            value = {**value, "pending_since": len(value["pending_since"])}
        ttl = entry["ttl_ms"]
        rough[key] = {"value": value, "ttl": None if ttl is None else round(ttl / 10_000)}
    return rough


@pytest.mark.parametrize("name", OPTIONS)
def test_qd_enqueues_what_asynq_enqueues(
    steps: Steps, peer: Peer, raw: redis.Redis, name: str
) -> None:
    """Key by key: the hash, the message, the containers, the lock, the list of queues."""
    options = {"task_id": "t1", **OPTIONS[name]}
    steps.enqueue("email:send", payload=b'{"a":1}', **in_words_of_asynq(options))
    by_asynq = steps.dump()
    raw.flushall()
    peer.client.enqueue("email:send", b'{"a":1}', **options)
    by_qd = steps.dump()
    task = by_qd[f"asynq:{{{options.get('queue', 'default')}}}:t:t1"]["value"]
    for field in ADDED.get(name, ()):
        assert task.pop(field)
    assert comparable(by_qd) == comparable(by_asynq)


def test_a_task_with_defaults_is_a_hash_of_three_fields(asynq: Asynq, peer: Peer) -> None:
    made = peer.client.enqueue("email:send", {"user_id": 42})
    dump = asynq.dump()
    task = dump[f"asynq:{{default}}:t:{made.id}"]["value"]
    assert task.keys() == {"msg", "state", "pending_since"}
    message = task["msg"]
    assert (message["retry"], message["timeout"], message["deadline"]) == (25, 1800, 0)
    assert dump["asynq:{default}:pending"]["value"] == [made.id]
    assert dump["asynq:queues"]["value"] == ["default"]


def test_the_first_to_be_enqueued_is_the_first_to_run_for_both(steps: Steps, peer: Peer) -> None:
    peer.client.enqueue("hold", task_id="qd-1")
    steps.enqueue("hold", id="go-1")
    peer.client.enqueue("hold", task_id="qd-2")
    pending = [one["id"] for one in steps.inspect("list-pending")]
    assert pending == ["qd-1", "go-1", "qd-2"]
    assert [one.id for one in peer.inspector.tasks.list("default", "pending")] == pending


def test_go_handles_what_qd_enqueues(asynq: Asynq, peer: Peer, raw: redis.Redis) -> None:
    terms: dict[str, Any] = {"queue": "low", "max_retry": 3, "retention": 60, "deadline": LATER}
    headers = {"traceparent": "00-abc", "empty": ""}
    for name, payload in PAYLOADS.items():
        peer.client.enqueue("echo:x", payload, task_id=name, headers=headers, **terms)
    peer.client.enqueue("ok", b"x" * (1 << 20), task_id="large", queue="low")
    with asynq.work(queues={"low": 1}, count=5, task_check=0.02, log=peer.journal.path) as worker:
        worker.wait()
    for name, payload in PAYLOADS.items():
        seen = json.loads(from_b64(asynq.inspect("task-info", queue="low", id=name)["result_b64"]))
        assert (seen["id"], seen["queue"], seen["type"]) == (name, "low", "echo:x")
        assert (seen["retried"], seen["max_retry"]) == (0, 3)
        assert seen["deadline"] == LATER.timestamp()
        assert seen["headers"] == headers
        assert (from_b64(seen["payload_b64"]) or b"") == (payload or b"")
    large = peer.journal.wait("start", "large")
    assert from_b64(large["payload_b64"]) == b"x" * (1 << 20)
    assert not raw.exists("asynq:{low}:t:large")
    today = dt.datetime.now(dt.UTC).date()
    assert raw.get("asynq:{low}:processed") == b"5"
    assert raw.get(f"asynq:{{low}}:processed:{today}") == b"5"
    assert 89 * 86400 < raw.ttl(f"asynq:{{low}}:processed:{today}") <= 90 * 86400


def test_qd_handles_what_go_enqueues(steps: Steps, peer: Peer, raw: redis.Redis) -> None:
    headers = {"traceparent": "00-abc", "empty": ""}
    terms = {"queue": "low", "max_retry": 3, "retention": 60, "deadline": LATER}
    for name, payload in PAYLOADS.items():
        steps.enqueue("echo:x", id=name, payload=payload, headers=headers, **terms)
    steps.enqueue("ok", id="large", payload="x" * (1 << 20), queue="low")
    with peer.working({"low": 1}):
        peer.journal.wait_count("end", 5)
        steps.wait_queue("low", completed=4, active=0)
    for name, payload in PAYLOADS.items():
        seen = json.loads(from_b64(steps.inspect("task-info", queue="low", id=name)["result_b64"]))
        assert (seen["id"], seen["queue"], seen["type"]) == (name, "low", "echo:x")
        assert (seen["retried"], seen["max_retry"]) == (0, 3)
        assert seen["deadline"] == LATER.timestamp()
        assert seen["headers"] == headers
        assert from_b64(seen["payload_b64"]) == (payload or b"")
    assert from_b64(peer.journal.wait("start", "large")["payload_b64"]) == b"x" * (1 << 20)
    assert not raw.exists("asynq:{low}:t:large")
    today = dt.datetime.now(dt.UTC).date()
    assert raw.get("asynq:{low}:processed") == b"5"
    assert 89 * 86400 < raw.ttl(f"asynq:{{low}}:processed:{today}") <= 90 * 86400


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_lock_of_one_side_keeps_the_other_out(
    steps: Steps, peer: Peer, raw: redis.Redis, name: str
) -> None:
    payload = PAYLOADS[name]
    peer.client.enqueue("t", payload, task_id="qd-1", unique="1m")
    by_qd = raw.keys("*:unique:*")
    with pytest.raises(AsynqError) as refused:
        steps.enqueue("t", payload=payload, unique=60)
    assert refused.value.kind == "duplicate"

    raw.flushall()
    steps.enqueue("t", id="go-1", payload=payload, unique=60)
    assert raw.keys("*:unique:*") == by_qd
    with pytest.raises(qd.DuplicateTask) as duplicate:
        peer.client.enqueue("t", payload, unique="1m")
    assert duplicate.value.holder == "go-1"


def test_nil_and_empty_payloads_have_locks_of_their_own(steps: Steps, peer: Peer) -> None:
    peer.client.enqueue("t", None, unique="1m")
    steps.enqueue("t", payload=b"", unique=60)
    peer.client.enqueue("t", b"x", unique="1m")
    assert steps.inspect("queue-info")["pending"] == 3


def test_the_end_of_a_task_frees_its_lock_for_the_other_side(
    asynq: Asynq, steps: Steps, peer: Peer
) -> None:
    steps.enqueue("ok", id="go", payload="1", unique=3600, queue="a")
    peer.client.enqueue("ok", b"2", task_id="qd", unique="1h", queue="b")
    with (
        peer.working({"a": 1}),
        asynq.work(queues={"b": 1}, count=1, log=peer.journal.path, task_check=0.02) as worker,
    ):
        worker.wait()
        peer.journal.wait("end", "go")
        steps.wait_queue("a", active=0, pending=0)
    peer.client.enqueue("ok", b"1", unique="1h", queue="a")
    steps.enqueue("ok", payload="2", unique=3600, queue="b")


def test_an_id_in_use_is_refused_by_both_until_it_is_free(
    asynq: Asynq, steps: Steps, peer: Peer, raw: redis.Redis
) -> None:
    peer.client.enqueue("ok", task_id="qd", retention="1h")
    steps.enqueue("ok", id="go")
    for task_id in ("qd", "go"):
        with pytest.raises(AsynqError) as refused:
            steps.enqueue("ok", id=task_id)
        assert refused.value.kind == "conflict"
        with pytest.raises(qd.TaskIdConflict) as conflict:
            peer.client.enqueue("ok", task_id=task_id)
        assert conflict.value.state == "pending"
    with asynq.work(count=2, task_check=0.02) as worker:
        worker.wait()

    # Nothing is left of the one; the other is kept, until a janitor finds that it is time.
    peer.client.enqueue("ok", task_id="go")
    with pytest.raises(qd.TaskIdConflict) as conflict:
        peer.client.enqueue("ok", task_id="qd")
    assert conflict.value.state == "completed"
    with pytest.raises(AsynqError):
        steps.enqueue("ok", id="qd")
    raw.zadd("asynq:{default}:completed", {"qd": 1})
    steps.maintain("default", {"completed": 0}, janitor_interval=0.02)
    peer.client.enqueue("ok", task_id="qd")


def test_an_id_conflict_in_qd_leaves_no_lock_behind(
    steps: Steps, peer: Peer, raw: redis.Redis
) -> None:
    """asynq leaves its lock until the TTL: that one is respected; qd does not leave any."""
    steps.enqueue("t", id="t1")
    with pytest.raises(qd.TaskIdConflict):
        peer.client.enqueue("u", b"1", task_id="t1", unique="1m")
    assert raw.keys("*:unique:*") == []

    with pytest.raises(AsynqError) as refused:
        steps.enqueue("u", id="t1", payload="1", unique=60)
    assert refused.value.kind == "conflict"
    with pytest.raises(qd.DuplicateTask) as duplicate:
        peer.client.enqueue("u", b"1", unique="1m")
    assert duplicate.value.holder == "t1"
    (lock,) = raw.keys("*:unique:*")
    assert 0 < raw.ttl(lock) <= 60


@pytest.mark.usefixtures("asynq")
def test_both_sides_work_on_one_cluster(cluster: ClusterServers, tmp_path: Path) -> None:
    on_cluster = Asynq("cluster:" + ",".join(cluster.addrs))
    queues = {"a": 1, "b": 1, "c": 1, "d": 1}
    with contextlib.closing(Peer(cluster.addrs, tmp_path)) as peer:
        for queue in queues:
            on_cluster.enqueue("ok", id=f"go-{queue}", queue=queue, unique=60, retention=60)
            made = peer.client.enqueue("ok", task_id=f"qd-{queue}", queue=queue, unique="1m",
                                       payload=b"x", retention="1m")  # fmt: skip
            assert made.queue == queue
        dump = on_cluster.dump()
        assert dump["asynq:queues"]["value"] == list(queues)
        assert dump["asynq:{a}:pending"]["value"] == ["qd-a", "go-a"]
        with peer.working(queues, worker={"concurrency": 1}):
            peer.journal.wait_count("end", 8)
        peer.client.enqueue("ok", task_id="last", queue="c", retention="1m")
        with on_cluster.work(queues=queues, count=1, task_check=0.02) as worker:
            worker.wait()
        infos = {queue: on_cluster.inspect("queue-info", queue=queue) for queue in queues}
        assert {queue: info["completed"] for queue, info in infos.items()} == {
            "a": 2, "b": 2, "c": 3, "d": 2,
        }  # fmt: skip
    # A connection that was left open is told of here, and not in some later test.
    gc.collect()
