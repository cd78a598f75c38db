"""What an operator does with one side's tools holds for the tasks and workers of the other."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

import qd
from qd.errors import QueueNotEmpty, TaskNotFound, WrongState
from qd.protocol.state import TaskState
from tests.compat.asynq import Asynq, AsynqError, Steps
from tests.compat.peer import PATIENCE, Peer
from tests.support.servers import RedisServer
from tests.support.wait import eventually

pytestmark = pytest.mark.compat

STATES = [state.value for state in TaskState]
WAITING = [state for state in STATES if state != "active"]
RUNNABLE = ["scheduled", "retry", "archived", "completed", "aggregating"]
ARCHIVABLE = ["pending", "scheduled", "retry", "completed", "aggregating"]

LATE = 3600


@contextlib.contextmanager
def tasks_of_qd(peer: Peer, steps: Steps) -> Iterator[None]:
    """A task of qd in each state, named after it; the active one is held."""
    with peer.working(worker={"concurrency": 1}):
        peer.client.enqueue("fail", task_id="retry", unique="1h")
        peer.client.enqueue("skip", task_id="archived", unique="1h")
        peer.client.enqueue("ok", task_id="completed", retention="1h")
        peer.client.enqueue("hold", task_id="active")
        peer.journal.wait("start", "active")
        peer.client.enqueue("t", task_id="pending", unique="1h")
        peer.client.enqueue("t", b"2", task_id="scheduled", process_in="1h", unique="1h")
        peer.client.enqueue("t", task_id="aggregating", group="g1")
        steps.wait_queue("default", **dict.fromkeys(STATES, 1))
        yield


@contextlib.contextmanager
def tasks_of_go(steps: Steps) -> Iterator[None]:
    """The same of Go."""
    steps.start_server(retry_delay=LATE)
    for task_id, how in (("retry", "fail"), ("archived", "skip"), ("completed", "ok")):
        lock = {} if how == "ok" else {"unique": LATE}
        steps.enqueue(task_id, id=task_id, retention=LATE, **lock)
        steps.wait_active(task_id)
        steps.end(task_id, how)
    steps.enqueue("t", id="active")
    steps.wait_active("active")
    steps.enqueue("t", id="pending", unique=LATE)
    steps.enqueue("t", id="scheduled", process_in=LATE, unique=LATE, payload="2")
    steps.enqueue("t", id="aggregating", group="g1")
    steps.wait_queue("default", **dict.fromkeys(STATES, 1))
    yield


def states_seen_by_go(steps: Steps) -> dict[str, str]:
    found = {}
    for state in STATES:
        where = {"group": "g1"} if state == "aggregating" else {}
        for task in steps.inspect(f"list-{state}", **where):
            found[task["id"]] = state
    return found


def states_seen_by_qd(peer: Peer) -> dict[str, str]:
    return {
        task.id: task.state
        for state in STATES
        for task in peer.inspector.tasks.list("default", TaskState(state))
    }


def unchanged_but(ids: list[str], state: str | None) -> dict[str, str]:
    """Each task in the state it is named after, but those of `ids` in another, or gone."""
    expected: dict[str, str | None] = {one: one for one in STATES}
    expected |= dict.fromkeys(ids, state)
    return {one: now for one, now in expected.items() if now is not None}


VERBS: dict[str, tuple[list[str], str | None]] = {
    "run": (RUNNABLE, "pending"),
    "archive": (ARCHIVABLE, "archived"),
    "delete": (WAITING, None),
}


@pytest.mark.parametrize("verb", VERBS)
def test_the_asynq_command_acts_on_qds_task_of_every_state(
    asynq: Asynq, steps: Steps, peer: Peer, raw: redis.Redis, verb: str
) -> None:
    possible, becomes = VERBS[verb]
    with tasks_of_qd(peer, steps):
        assert states_seen_by_qd(peer) == unchanged_but([], None)
        for state in STATES:
            command = ("task", verb, "--queue=default", f"--id={state}")
            if state in possible:
                asynq.cli(*command)
            else:
                with pytest.raises(subprocess.CalledProcessError) as refused:
                    asynq.cli(*command)
                assert "FAILED_PRECONDITION" in refused.value.stdout
        assert states_seen_by_qd(peer) == unchanged_but(possible, becomes)
        assert states_seen_by_go(steps) == unchanged_but(possible, becomes)
        if verb == "delete":
            assert raw.keys("*:unique:*") == []


@pytest.mark.parametrize("verb", VERBS)
def test_qds_inspector_acts_on_gos_task_of_every_state(
    steps: Steps, peer: Peer, raw: redis.Redis, verb: str
) -> None:
    possible, becomes = VERBS[verb]
    act = getattr(peer.inspector.tasks, verb)
    with tasks_of_go(steps):
        for state in STATES:
            if state in possible:
                act("default", state)
            else:
                with pytest.raises(WrongState):
                    act("default", state)
        assert states_seen_by_go(steps) == unchanged_but(possible, becomes)
        assert states_seen_by_qd(peer) == unchanged_but(possible, becomes)
        if verb == "delete":
            assert raw.keys("*:unique:*") == []
            with pytest.raises(TaskNotFound):
                act("default", "pending")


# What asynq can do to whole states, and to which.
BULK = {
    "run": ["scheduled", "retry", "archived", "aggregating"],
    "archive": ["pending", "scheduled", "retry", "aggregating"],
    "delete": ["pending", "scheduled", "retry", "archived", "completed", "aggregating"],
}


def fill(enqueue: Callable[..., Any], raw: redis.Redis, state: str) -> None:
    """Three tasks of one side in a state."""
    for number in range(3):
        task_id = f"{state}-{number}"
        if state == "scheduled":
            enqueue(task_id, process_in=LATE)
        elif state == "aggregating":
            enqueue(task_id, group="g1")
        else:
            enqueue(task_id)
            if state != "pending":
                # As after a run: how tasks end is proven elsewhere.
                raw.lrem("asynq:{default}:pending", 1, task_id)
                raw.hset(f"asynq:{{default}}:t:{task_id}", "state", state)
                raw.zadd(f"asynq:{{default}}:{state}", {task_id: 4e9})


@pytest.mark.parametrize("verb", BULK)
def test_asynqs_bulk_commands_count_qds_tasks_right(
    asynq: Asynq, steps: Steps, peer: Peer, raw: redis.Redis, verb: str
) -> None:
    said = {"run": "3 tasks are now pending", "archive": "3 tasks archived",
            "delete": "3 tasks deleted"}[verb]  # fmt: skip
    for state in BULK[verb]:
        raw.flushall()
        fill(lambda task_id, **terms: peer.client.enqueue("t", task_id=task_id, **terms),
             raw, state)  # fmt: skip
        group = ["--group=g1"] if state == "aggregating" else []
        answer = asynq.cli("task", f"{verb}all", "--queue=default", f"--state={state}", *group)
        assert said in answer
        becomes = {"run": "pending", "archive": "archived", "delete": None}[verb]
        ids = [f"{state}-{number}" for number in range(3)]
        assert states_seen_by_qd(peer) == (dict.fromkeys(ids, becomes) if becomes else {})
        info = peer.inspector.queues.info("default")
        assert info.size == (3 if becomes else 0)
        assert info.groups == 0


@pytest.mark.parametrize("verb", BULK)
def test_qds_bulk_actions_count_gos_tasks_right(
    steps: Steps, peer: Peer, raw: redis.Redis, verb: str
) -> None:
    for state in BULK[verb]:
        for key in raw.keys("asynq:{default}*"):
            raw.delete(key)
        fill(lambda task_id, **terms: steps.enqueue("t", id=task_id, **terms), raw, state)
        group = "g1" if state == "aggregating" else None
        act = getattr(peer.inspector.tasks, f"{verb}_all")
        assert act("default", TaskState(state), group) == 3
        becomes = {"run": "pending", "archive": "archived", "delete": None}[verb]
        ids = [f"{state}-{number}" for number in range(3)]
        assert states_seen_by_go(steps) == (dict.fromkeys(ids, becomes) if becomes else {})
        info = steps.inspect("queue-info")
        assert info["size"] == (3 if becomes else 0)
        assert info["groups"] == 0


def test_a_queue_that_asynq_pauses_is_left_alone_by_qd(asynq: Asynq, peer: Peer) -> None:
    peer.client.enqueue("ok", queue="a", task_id="first")
    asynq.cli("queue", "pause", "a")
    assert peer.inspector.queues.info("a").paused
    assert peer.inspector.queues.info("a").paused_at is not None
    with peer.working({"a": 1, "b": 1}):
        # What comes later into the other queue is handled, so this worker has looked.
        peer.client.enqueue("ok", queue="b", task_id="other")
        peer.journal.wait("end", "other")
        assert peer.inspector.queues.info("a").pending == 1
        asynq.cli("queue", "resume", "a")
        peer.journal.wait("end", "first")
    with pytest.raises(WrongState):
        peer.inspector.queues.resume("a")


def test_a_queue_that_qd_pauses_is_left_alone_by_go(steps: Steps, peer: Peer) -> None:
    steps.enqueue("t", queue="a", id="first")
    peer.inspector.queues.pause("a")
    assert steps.inspect("queue-info", queue="a")["paused"]
    steps.start_server(queues={"a": 1, "b": 1})
    steps.enqueue("t", queue="b", id="other")
    assert steps.wait_active()["id"] == "other"
    steps.end("other", "ok")
    assert steps.inspect("queue-info", queue="a")["pending"] == 1
    peer.inspector.queues.resume("a")
    steps.wait_active("first")


def test_asynqs_command_shows_the_pause_of_qds_command(
    asynq: Asynq, steps: Steps, server: RedisServer
) -> None:
    steps.enqueue("t", queue="low")
    command = [sys.executable, "-m", "qd", "--redis", server.url, "queue"]
    for verb, paused in (("pause", "true"), ("resume", "false")):
        subprocess.run([*command, verb, "low"], check=True, capture_output=True)
        assert re.search(rf"Paused: +{paused}\n", asynq.cli("queue", "inspect", "low"))


def test_a_payload_that_qd_changes_is_what_go_handles(steps: Steps, peer: Peer) -> None:
    terms = {"headers": {"k": "v"}, "retention": 60, "max_retry": 3}
    steps.enqueue("t", id="t1", payload="old", process_in=LATE, **terms)
    peer.inspector.tasks.update_payload("default", "t1", b"\xffnew")
    assert peer.inspector.tasks.get("default", "t1").payload == b"\xffnew"
    peer.inspector.tasks.run("default", "t1")
    steps.start_server()
    seen = steps.wait_active("t1")
    assert (seen["id"], seen["payload_b64"], seen["headers"]) == ("t1", "/25ldw==", {"k": "v"})
    steps.end("t1", "ok")
    assert steps.inspect("task-info", id="t1")["retention"] == 60


def test_a_payload_that_go_changes_is_what_qd_handles(steps: Steps, peer: Peer) -> None:
    peer.client.enqueue("echo", b"old", task_id="t1", process_in="1h", headers={"k": "v"})
    steps.inspect("update-payload", id="t1", payload=b"\xffnew")
    steps.inspect("run", id="t1")
    with peer.working():
        seen = peer.journal.wait("start", "t1")
    assert (seen["payload_b64"], seen["headers"]) == ("/25ldw==", {"k": "v"})


def test_a_queue_that_asynq_removes_comes_back_with_qds_next_task(asynq: Asynq, peer: Peer) -> None:
    """Go's clients announce a queue once per process; qd does it with every task."""
    peer.client.enqueue("t", queue="low", task_id="t1")
    asynq.cli("queue", "rm", "low", "--force")
    assert peer.inspector.queues.names() == []
    assert "low" not in asynq.cli("queue", "ls")
    peer.client.enqueue("t", queue="low", task_id="t1")
    assert asynq.cli("queue", "ls").split() == ["low"]


def test_a_queue_that_qd_removes_is_gone_for_asynq(
    steps: Steps, peer: Peer, raw: redis.Redis
) -> None:
    """With all that asynq itself would leave behind: groups, completed tasks, locks, counters."""
    with tasks_of_go(steps), pytest.raises(WrongState):
        peer.inspector.queues.remove("default", force=True)
    steps.end("active", "ok")
    with pytest.raises(QueueNotEmpty):
        peer.inspector.queues.remove("default")
    steps.stop_server()
    assert peer.inspector.queues.remove("default", force=True) >= 5
    assert steps.inspect("queues") == []
    assert raw.keys("asynq:{default}*") == []
    with pytest.raises(AsynqError):
        steps.inspect("queue-info")


def test_qd_sees_the_result_of_a_task_that_go_has_run(steps: Steps, peer: Peer) -> None:
    made = peer.client.enqueue("t", b"x", retention="1m", timeout="1m")
    assert isinstance(made, qd.TaskInfo)
    steps.start_server()
    assert steps.wait_active()["id"] == made.id
    steps.end(made.id, "ok", result="done")
    task = eventually(lambda: peer.inspector.tasks.get("default", made.id), PATIENCE)
    assert (task.state, task.result) == ("completed", b"done")
