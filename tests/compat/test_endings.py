"""However a task ends in qd, Redis holds what asynq would have left, and Go can go on with it."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Any

import pytest
import redis

from qd.protocol import codec
from tests.compat.apps.behaviours import AWKWARD_TEXT
from tests.compat.asynq import Asynq, Steps, from_b64
from tests.compat.peer import PATIENCE, Peer
from tests.support.wait import eventually

pytestmark = pytest.mark.compat

# Type, and the options that matter for how it ends.
ENDINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "done": ("ok", {}),
    "completed": ("ok", {"retention": 60}),
    "result": ("result", {"retention": 60}),
    "result-not-kept": ("result", {}),
    "failed": ("fail", {}),
    "not-counted": ("nofail", {}),
    "skipped": ("skip", {}),
    "exhausted": ("fail", {"max_retry": 0}),
    "not-counted-exhausted": ("nofail", {"max_retry": 0}),
    "revoked": ("revoke", {"retention": 60}),
}

RETRY = {"policy": "fixed", "initial": 3600}


def comparable(steps: Steps, queue: str) -> dict[str, Any]:
    """The keys of a queue under the name Q, without error texts and with times rounded."""
    rough: dict[str, Any] = {}
    for key, entry in steps.dump(queue).items():
        if f"{{{queue}}}" not in key:
            continue
        value = entry["value"]
        if entry["type"] == "zset":
            value = [[member, score // 100] for member, score in value]
        if entry["type"] == "hash":
            message = {**value["msg"], "queue": "Q", "error_msg": bool(value["msg"]["error_msg"])}
            for name in ("last_failed_at", "completed_at"):
                message[name] = message[name] > 0
            message["unique_key"] = message["unique_key"].replace(queue, "Q")
            lock = value["unique_key"].replace(queue, "Q")
            value = {**value, "msg": message, "unique_key": lock}
        rough[key.replace(queue, "Q")] = value
    return rough


@pytest.mark.parametrize("name", ENDINGS)
def test_a_task_ends_in_qd_as_in_asynq(asynq: Asynq, steps: Steps, peer: Peer, name: str) -> None:
    """Hash, message, container, lock and counters, with the same task in a queue of each side."""
    kind, terms = ENDINGS[name]
    steps.enqueue(kind, queue="go", id="t1", payload="why", unique=3600, **terms)
    peer.client.enqueue(kind, b"why", queue="qd", task_id="t1", unique="1h", **terms)
    with asynq.work(queues={"go": 1}, count=1, retry_delay=3600, task_check=0.02) as worker:
        worker.wait()
    with peer.working({"qd": 1}, retry=RETRY):
        eventually(lambda: steps.inspect("queue-info", queue="qd")["pending"] == 0, PATIENCE)
        steps.wait_queue("qd", active=0)
    assert comparable(steps, "qd") == comparable(steps, "go")


def test_a_failed_task_waits_in_retry_for_asynqs_delay(steps: Steps, peer: Peer) -> None:
    peer.client.enqueue("fail", b"boom", task_id="t1")
    with peer.working(retry={"policy": "asynq"}):
        steps.wait_queue("default", retry=1)
    (task,) = steps.inspect("list-retry")
    assert task["last_err"] == "Failed: boom"
    assert (task["retried"], task["max_retry"]) == (1, 25)
    assert 15 - 2 <= task["next_process_at"] - time.time() <= 45
    assert time.time() - task["last_failed_at"] < PATIENCE
    info = steps.inspect("queue-info")
    assert (info["processed"], info["failed"]) == (1, 1)
    assert (info["processed_total"], info["failed_total"]) == (1, 1)


def test_an_error_that_does_not_count_changes_no_counter(steps: Steps, peer: Peer) -> None:
    peer.client.enqueue("nofail", b"not yet", task_id="t1", max_retry=1)
    with peer.working(retry={"policy": "fixed", "initial": 0.01}):
        eventually(lambda: peer.journal.counts("start")["t1"] >= 3, PATIENCE)
    task = steps.inspect("task-info", id="t1")
    assert task["retried"] == 0
    assert task["last_err"] == "NotCounted: not yet"
    info = steps.inspect("queue-info")
    assert (info["processed_total"], info["failed_total"]) == (0, 0)


def test_an_exhausted_task_is_archived_with_its_last_error(steps: Steps, peer: Peer) -> None:
    peer.client.enqueue("fail", b"boom", task_id="exhausted", max_retry=1)
    peer.client.enqueue("skip", b"never", task_id="skipped")
    with peer.working(retry={"policy": "fixed", "initial": 0.01}):
        steps.wait_queue("default", archived=2)
    archived = {one["id"]: one for one in steps.inspect("list-archived")}
    assert {task_id: (one["retried"], one["last_err"]) for task_id, one in archived.items()} == {
        "exhausted": (1, "Failed: boom"),
        "skipped": (0, "never"),
    }
    info = steps.inspect("queue-info")
    assert (info["processed_total"], info["failed_total"]) == (3, 3)


def test_a_revoked_task_is_processed_and_leaves_nothing(
    steps: Steps, peer: Peer, raw: redis.Redis
) -> None:
    peer.client.enqueue("revoke", task_id="t1", unique="1h", retention="1h")
    with peer.working():
        eventually(lambda: raw.get("asynq:{default}:processed") == b"1", PATIENCE)
    assert raw.keys("*:unique:*") == raw.keys("asynq:*:t:*") == []
    assert raw.get("asynq:{default}:failed") is None


@pytest.mark.parametrize("janitor", ["go", "qd"])
def test_a_result_is_kept_until_any_janitor_finds_it_expired(
    asynq: Asynq, steps: Steps, peer: Peer, raw: redis.Redis, janitor: str
) -> None:
    """The result of one side, deleted by the other."""
    done = {"task_id": "t1", "retention": "1m"}
    peer.client.enqueue("result", b"\x00 a result", **done)
    if janitor == "go":
        with peer.working():
            steps.wait_queue("default", completed=1)
    else:
        with asynq.work(count=1, task_check=0.02) as worker:
            worker.wait()
    task = steps.inspect("task-info", id="t1")
    assert task["state"] == "completed"
    assert from_b64(task["result_b64"]) == b"\x00 a result"
    assert peer.inspector.tasks.get("default", "t1").result == b"\x00 a result"
    assert task["retention"] == 60
    left = raw.zscore("asynq:{default}:completed", "t1") - task["completed_at"]
    assert left == pytest.approx(60, abs=1)

    raw.zadd("asynq:{default}:completed", {"t1": 1})
    if janitor == "go":
        steps.maintain("default", {"completed": 0}, janitor_interval=0.02)
    else:
        with peer.working(scheduler={"janitor_interval": 0.1}):
            steps.wait_queue("default", completed=0)
    assert raw.keys("asynq:*:t:*") == []


@pytest.mark.parametrize("side", ["go", "qd"])
def test_a_cancel_of_one_side_reaches_the_handler_of_the_other(
    steps: Steps, peer: Peer, side: str
) -> None:
    with contextlib.ExitStack() as stack:
        peer.client.enqueue("hold", task_id="t1")
        if side == "go":
            stack.enter_context(peer.working())
            peer.journal.wait("start", "t1")
            sent = time.time()
            steps.inspect("cancel", id="t1")
        else:
            steps.start_server(retry_delay=3600)
            steps.wait_active("t1")
            sent = time.time()
            assert peer.inspector.tasks.cancel("t1") >= 1
        steps.wait_queue("default", active=0, retry=1)
        assert time.time() - sent < 2
    task = steps.inspect("task-info", id="t1")
    assert task["last_err"] == "context canceled"
    assert (task["state"], task["retried"]) == ("retry", 1)


def test_a_text_no_message_can_hold_poisons_nobody(
    steps: Steps, peer: Peer, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Go lists the task, runs it again, and recovers it when its worker is lost."""
    # Half a surrogate pair in a captured line could not be sent from one test process to another.
    monkeypatch.setattr(logging.getLogger("qd"), "propagate", False)
    peer.client.enqueue("awkward", task_id="t1")
    with peer.working():
        steps.wait_queue("default", retry=1)
    (task,) = steps.inspect("list-retry")
    assert task["last_err"].startswith("Failed: bad ? text, a \x00 and\na new line, xxx")
    assert 4000 < len(task["last_err"]) < len(AWKWARD_TEXT)

    assert steps.inspect("run-all-retry") == 1
    steps.start_server(server="crashing")
    held = steps.wait_active("t1")
    assert held["retried"] == 1
    raw.zadd("asynq:{default}:lease", {"t1": 1})
    steps.maintain("default", {"active": 0, "retry": 1})
    message = codec.decode_task(raw.hget("asynq:{default}:t:t1", "msg"))
    assert (message.terms.retried, message.terms.error) == (2, "asynq: task lease expired")


def test_what_is_put_back_at_shutdown_is_the_next_to_run(
    steps: Steps, peer: Peer, raw: redis.Redis
) -> None:
    peer.client.enqueue("hold", task_id="long")
    with peer.working(worker={"shutdown_timeout": 0.1, "concurrency": 1}):
        peer.journal.wait("start", "long")
        peer.client.enqueue("hold", task_id="behind")
    assert raw.lrange("asynq:{default}:pending", 0, -1) == [b"behind", b"long"]
    assert not raw.exists("asynq:{default}:lease", "asynq:{default}:active")
    assert steps.inspect("task-info", id="long")["retried"] == 0
    steps.start_server()
    assert steps.wait_active()["id"] == "long"
