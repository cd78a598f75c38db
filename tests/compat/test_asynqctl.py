"""asynqctl itself: what the compatibility suites ask of real asynq is what they get."""

from __future__ import annotations

import datetime as dt
import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.compat.asynq import Asynq, AsynqError, cron_next, from_b64, golden
from tests.support.server_groups import ClusterServers
from tests.support.wait import eventually

pytestmark = pytest.mark.compat

NOON = dt.datetime(2100, 1, 1, 12, tzinfo=dt.UTC)


def test_every_task_option_reaches_asynq(asynq: Asynq) -> None:
    info = asynq.enqueue(
        "email:send",
        payload=b"\x00\xff",
        headers={"a": "1=2", "b": ""},
        queue="low",
        max_retry=0,
        timeout=90,
        deadline=NOON,
        unique=dt.timedelta(hours=1),
        process_at=NOON,
        id="t1",
        retention="24h",
    )
    assert info["state"] == "scheduled"
    key = "asynq:{low}:t:t1"
    assert asynq.dump("low")[key]["value"]["msg"] == {
        "type": "email:send",
        "payload_b64": "AP8=",
        "id": "t1",
        "queue": "low",
        "retry": 0,
        "retried": 0,
        "error_msg": "",
        "timeout": 90,
        "deadline": int(NOON.timestamp()),
        "unique_key": asynq.dump()[key]["value"]["unique_key"],
        "last_failed_at": 0,
        "retention": 86400,
        "completed_at": 0,
        "group_key": "",
        "headers": {"a": "1=2", "b": ""},
    }
    assert asynq.enqueue("email:send", group="g1")["state"] == "aggregating"
    assert asynq.enqueue("email:send", process_in="1h")["state"] == "scheduled"


def test_no_payload_and_an_empty_payload_have_different_locks(
    asynq: Asynq, raw: redis.Redis
) -> None:
    assert asynq.enqueue("t", unique=60)["payload_b64"] is None
    assert asynq.enqueue("t", unique=60, payload="")["payload_b64"] == ""
    assert set(raw.keys("*:unique:*")) == {
        b"asynq:{default}:unique:t:",
        b"asynq:{default}:unique:t:d41d8cd98f00b204e9800998ecf8427e",
    }


def test_a_refusal_of_asynq_says_which_kind_it_is(asynq: Asynq) -> None:
    asynq.enqueue("t", id="t1", unique=60)
    refusals = {
        "duplicate": lambda: asynq.enqueue("t", unique=60),
        "conflict": lambda: asynq.enqueue("other", id="t1"),
        "other": lambda: asynq.enqueue("t", id=""),
        "usage": lambda: asynq.enqueue("t", max_retries=3),
        "task-not-found": lambda: asynq.inspect("task-info", id="nowhere"),
        "queue-not-found": lambda: asynq.inspect("list-retry", queue="nowhere"),
        "queue-not-empty": lambda: asynq.inspect("delete-queue"),
    }
    for kind, call in refusals.items():
        with pytest.raises(AsynqError) as refusal:
            call()
        assert refusal.value.kind == kind, refusal.value


def test_work_ends_each_task_as_its_type_says(asynq: Asynq, tmp_path: Path) -> None:
    log = tmp_path / "log"
    kinds = ["ok", "fail", "nofail", "skip", "revoke", "panic", "sleep:1ms", "result", "echo"]
    for kind in kinds:
        asynq.enqueue(kind, id=kind, payload="text", retention=60, headers={"k": kind})
    with asynq.work(queues={"default": 1}, log=log, count=len(kinds)) as worker:
        assert worker.ready["pid"] == worker.pid
        assert worker.next() == {"handled": len(kinds)}
        assert worker.wait() == 0
    states = {kind: asynq.inspect("task-info", id=kind) for kind in kinds if kind != "revoke"}
    assert {kind: info["state"] for kind, info in states.items()} == {
        "ok": "completed",
        "fail": "retry",
        "nofail": "retry",
        "skip": "archived",
        "panic": "retry",
        "sleep:1ms": "completed",
        "result": "completed",
        "echo": "completed",
    }
    assert [states[kind]["retried"] for kind in ("fail", "nofail")] == [1, 0]
    assert from_b64(states["result"]["result_b64"]) == b"text"
    assert json.loads(from_b64(states["echo"]["result_b64"]) or b"")["headers"] == {"k": "echo"}
    with pytest.raises(AsynqError, match="not found"):
        asynq.inspect("task-info", id="revoke")

    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert {event["id"] for event in events if event["event"] == "start"} == set(kinds)
    ends = {event["id"]: event["error"] for event in events if event["event"] == "end"}
    assert ends["ok"] is None
    assert ends["fail"] == "text"
    assert ends["panic"] == "text"


def test_a_worker_stops_fetching_on_sigtstp_and_leaves_on_sigterm(asynq: Asynq) -> None:
    with asynq.work(task_check=0.02) as worker:
        worker.signal(signal.SIGTSTP)
        assert worker.next() == {"stopped": True}
        asynq.enqueue("ok")
        worker.signal(signal.SIGTERM)
        assert worker.next() == {"handled": 0}
        assert worker.wait() == 0
    assert asynq.inspect("servers") == []
    assert asynq.inspect("queue-info")["pending"] == 1


def test_many_tasks_are_enqueued_at_once(asynq: Asynq) -> None:
    answer = asynq.enqueue_many(50, "ok", id="bulk", goroutines=3)
    assert sorted(answer["ids"]) == sorted(f"bulk-{number}" for number in range(50))
    assert answer["errors"] == []
    assert asynq.inspect("queue-info")["pending"] == 50


def test_a_step_decides_how_an_active_task_ends(asynq: Asynq) -> None:
    with asynq.steps() as steps:
        for kind in ("ok", "fail", "nofail", "skip", "revoke", "panic"):
            steps.enqueue("email:send", id=kind, queue="q", retention=60, max_retry=2)
        steps.start_server(queues={"q": 1})
        order = []
        for _ in range(6):
            task = steps.wait_active()
            order.append(task["id"])
            assert steps.inspect("list-active", queue="q")[0]["id"] == task["id"]
            result = {"result": "done"} if task["id"] == "ok" else {}
            steps.end(task["id"], task["id"], error="because", **result)
        assert order == ["ok", "fail", "nofail", "skip", "revoke", "panic"]
        tasks = {
            name: entry["value"]
            for key, entry in steps.dump("q").items()
            for name in [key.removeprefix("asynq:{q}:t:")]
            if name != key
        }
        assert {name: task["state"] for name, task in tasks.items()} == {
            "ok": "completed",
            "fail": "retry",
            "nofail": "retry",
            "skip": "archived",
            "panic": "retry",
        }
        assert tasks["ok"]["result"] == "done"
        assert tasks["fail"]["msg"]["error_msg"] == "because"
        with pytest.raises(AsynqError, match="no handler holds"):
            steps.end("ok", "ok")


def test_steps_cancel_stop_and_requeue(asynq: Asynq) -> None:
    with asynq.steps() as steps:
        steps.enqueue("t", id="cancelled")
        steps.start_server(retry_delay=3600)
        steps.wait_active("cancelled")
        steps.inspect("cancel", id="cancelled")
        steps.wait_inactive("cancelled")
        steps.enqueue("t", id="requeued")
        steps.wait_active("requeued")
        steps.stop_server()
        assert steps.inspect("task-info", id="cancelled")["last_err"] == "context canceled"
        assert steps.inspect("task-info", id="requeued")["state"] == "pending"
        with pytest.raises(AsynqError) as late:
            steps.wait_active(limit=0.01)
        assert late.value.kind == "timeout"


def test_the_end_of_a_session_gives_its_tasks_back(asynq: Asynq) -> None:
    with asynq.steps() as steps:
        steps.enqueue("t", id="t1")
        steps.start_server()
        steps.wait_active("t1")
    assert asynq.inspect("servers") == []
    assert asynq.inspect("task-info", id="t1")["state"] == "pending"


def test_the_forwarder_the_janitor_and_the_recoverer_get_their_turn(
    asynq: Asynq, raw: redis.Redis
) -> None:
    asynq.enqueue("t", id="due", process_in=3600)
    asynq.enqueue("ok", id="kept", retention=3600, queue="done")
    asynq.enqueue("t", id="lost", queue="crashed")
    with asynq.work(queues={"done": 1}, count=1) as worker:
        worker.wait()
    with asynq.steps() as crashing:
        crashing.start_server(queues={"crashed": 1})
        crashing.wait_active("lost")
        crashing.kill()
    raw.zadd("asynq:{default}:scheduled", {"due": 1})
    raw.zadd("asynq:{done}:completed", {"kept": 1})
    raw.zadd("asynq:{crashed}:lease", {"lost": 1})
    with asynq.steps() as steps:
        steps.maintain("default", {"scheduled": 0, "pending": 1}, delayed_check=0.02)
        steps.maintain("done", {"completed": 0}, janitor_interval=0.02)
        steps.maintain("crashed", {"active": 0, "retry": 1})
        assert steps.inspect("task-info", id="due")["state"] == "pending"
        lost = steps.inspect("task-info", queue="crashed", id="lost")
        assert lost["last_err"] == "asynq: task lease expired"
        assert not steps.inspect("queue-info")["paused"]


def test_the_aggregator_joins_the_payloads_of_a_group(asynq: Asynq) -> None:
    with asynq.steps() as steps:
        for payload in ("one", "two"):
            steps.enqueue("t", payload=payload, group="g1")
        assert steps.inspect("groups") == [{"group": "g1", "size": 2}]
        steps.maintain("default", {"pending": 1, "groups": 0}, aggregate=True, group_grace=1)
        (task,) = steps.inspect("list-pending")
        assert task["type"] == "aggregated"
        assert sorted((from_b64(task["payload_b64"]) or b"").split(b"\n")) == [b"one", b"two"]


def test_inspector_verbs_move_tasks(asynq: Asynq) -> None:
    with asynq.steps() as steps:
        steps.enqueue("t", id="a", process_in=3600)
        steps.inspect("update-payload", id="a", payload=b"\xff")
        steps.inspect("run", id="a")
        assert steps.inspect("list-pending", page_size=1, page=1)[0]["payload_b64"] == "/w=="
        assert steps.inspect("archive-all-pending") == 1
        assert steps.inspect("run-all-archived") == 1
        steps.inspect("archive", id="a")
        steps.inspect("delete", id="a")
        steps.inspect("pause")
        assert steps.inspect("queue-info")["paused"]
        steps.inspect("unpause")
        assert len(steps.inspect("history", days=3)) == 3
        steps.inspect("delete-queue", force=True)
        assert steps.inspect("queues") == []
        with pytest.raises(AsynqError, match="no inspector verb"):
            steps.inspect("explode")


def test_a_schedule_shows_its_entries_and_events(asynq: Asynq) -> None:
    entries = [
        {"spec": "@every 1s", "type": "tick", "payload": b"x", "queue": "low", "max_retry": 3},
        {"spec": "0 0 1 1 *", "type": "yearly"},
    ]
    with asynq.schedule(entries, heartbeat=1, zone="Europe/Berlin") as scheduler:
        fired = scheduler.next()
        assert fired["event"] == "enqueued"
        tick = scheduler.ready["entry_ids"][0]
        entries_shown = eventually(lambda: asynq.inspect("scheduler-entries"))
        shown = {entry["id"]: entry for entry in entries_shown}
        assert shown.keys() == set(scheduler.ready["entry_ids"])
        assert shown[tick]["opts"] == ['Queue("low")', "MaxRetry(3)"]
        events = eventually(lambda: asynq.inspect("enqueue-events", id=tick))
        assert events[-1]["task_id"] == fired["task"]["id"]


def test_a_periodic_task_manager_reads_its_file(asynq: Asynq, tmp_path: Path) -> None:
    config = tmp_path / "entries.json"
    config.write_text(json.dumps([{"spec": "@every 1s", "type": "tick"}]))
    with asynq.periodic(config, sync=1) as manager:
        assert manager.next()["task"]["type"] == "tick"


@pytest.mark.usefixtures("asynq")
def test_cron_times_are_those_of_the_scheduler() -> None:
    spring = {"zone": "Europe/Berlin", "start": "2026-03-28T02:30:00+01:00", "count": 2}
    berlin, never, wrong, broken = cron_next(
        [
            {"spec": "30 2 * * *", **spring},
            {"spec": "0 0 30 2 *", "start": NOON},
            {"spec": "* * *", "start": NOON},
            {"spec": "TZ=UTC", "start": NOON},
        ]
    )
    # 02:30 does not exist on the 29th: robfig/cron leaves the day out.
    assert berlin == {"next": ["2026-03-30T02:30:00+02:00", "2026-03-31T02:30:00+02:00"]}
    assert never == {"next": [None]}
    assert "expected exactly 5 fields" in wrong["error"]
    assert broken["error"].startswith("panic")


def test_metrics_and_the_command_line_see_the_same_queue(asynq: Asynq) -> None:
    asynq.enqueue("ok", id="t1", queue="low")
    assert 'asynq_tasks_enqueued_total{queue="low",state="pending"} 1' in asynq.metrics()
    assert "t1" in asynq.cli("task", "ls", "--queue=low", "--state=pending")


@pytest.mark.usefixtures("asynq")
def test_a_cluster_is_worked_and_dumped_whole(cluster: ClusterServers) -> None:
    on_cluster = Asynq("cluster:" + ",".join(cluster.addrs))
    for queue in ("a", "b", "c", "d"):
        on_cluster.enqueue("ok", queue=queue, retention=60)
    with on_cluster.work(queues={"a": 1, "b": 1, "c": 1, "d": 1}, count=4) as worker:
        worker.wait()
    dump = on_cluster.dump()
    assert dump["asynq:queues"]["value"] == ["a", "b", "c", "d"]
    assert {f"asynq:{{{queue}}}:completed" for queue in "abcd"} < dump.keys()


def test_golden_files_hold_what_asynq_writes_today(asynq: Asynq, tmp_path: Path) -> None:
    """The committed files and a fresh recording agree in all that does not depend on the run."""
    asynq.golden(tmp_path)
    for name in ("task_messages", "unique_keys", "scheduler", "server_and_workers"):
        fresh = json.loads((tmp_path / f"{name}.json").read_text())
        committed = golden(name)
        assert [stable(entry) for entry in fresh] == [stable(entry) for entry in committed]


def stable(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry without times and identities of the run; tasks are named t-something by the data."""
    message = dict(entry.get("message", {}))
    for name in ("host", "pid", "server_id"):
        message.pop(name, None)
    for name in ("id", "task_id"):
        if not str(message.get(name)).startswith("t-"):
            message.pop(name, None)
    for name, value in message.items():
        if isinstance(value, dict) and "nanos" in value:
            message[name] = value["seconds"] > 0
        if name in ("last_failed_at", "completed_at"):
            message[name] = value > 0
    if "error_msg" in message:
        message["error_msg"] = re.sub(r"\.go:\d+", ".go", message["error_msg"])
    return {"name": entry.get("name"), "spec": entry.get("spec"), "message": message}
