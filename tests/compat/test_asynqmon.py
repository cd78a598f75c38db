"""
asynqmon, asynq's web interface, shows qd and acts on its tasks.

Its last release reads with asynq v0.24.1, which is stricter than today's: a server, worker or event
without one of its times is left out, or is an error.
"""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import redis

import qd
from tests.compat.asynq import Steps
from tests.compat.asynq_build import program
from tests.compat.peer import PATIENCE, Peer
from tests.compat.test_operators import (
    ARCHIVABLE,
    RUNNABLE,
    STATES,
    WAITING,
    states_seen_by_qd,
    tasks_of_qd,
    unchanged_but,
)
from tests.support.servers import RedisServer
from tests.support.wait import eventually

pytestmark = pytest.mark.compat


class Monitor:
    """Its API; `ask` gives what it answers, None if that is nothing."""

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}/api"

    def ask(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(self._url + path, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            body = response.read()
        return json.loads(body) if body else None


@pytest.fixture
def asynqmon(server: RedisServer) -> Iterator[Monitor]:
    command = [program("asynqmonctl"), "-redis", f"127.0.0.1:{server.port}"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        yield Monitor(running.stdout.readline().strip())
        running.stdin.close()


def path_of(state: str) -> str:
    """Where the tasks of a state are."""
    group = "/groups/g1" if state == "aggregating" else ""
    return f"/queues/default{group}/{state}_tasks"


def test_asynqmon_shows_qds_queue_and_a_task_of_every_state(
    asynqmon: Monitor, steps: Steps, peer: Peer
) -> None:
    with tasks_of_qd(peer, steps):
        (shown,) = asynqmon.ask("/queues")["queues"]
        assert {state: shown[state] for state in STATES} == dict.fromkeys(STATES, 1)
        assert (shown["size"], shown["groups"]) == (7, 1)
        assert (shown["processed"], shown["failed"]) == (3, 2)
        assert len(asynqmon.ask("/queues/default")["history"]) == 10
        assert asynqmon.ask("/queue_stats")["stats"]["default"][0]["processed"] == 3
        assert asynqmon.ask("/queues/default/groups")["groups"] == [{"group": "g1", "size": 1}]
        for state in STATES:
            (row,) = asynqmon.ask(path_of(state))["tasks"]
            assert row["id"] == state
            assert asynqmon.ask(f"/queues/default/tasks/{state}")["state"] == state
        failed = asynqmon.ask("/queues/default/tasks/retry")
        assert (failed["error_message"], failed["retried"]) == ("Failed: failed", 1)
        (running,) = asynqmon.ask(path_of("active"))["tasks"]
        assert not running["is_orphaned"]


def test_asynqmon_shows_qds_workers(asynqmon: Monitor, peer: Peer) -> None:
    peer.client.enqueue("hold", {"a": 1}, task_id="t1", queue="low")
    with peer.working({"low": 1, "high": 6}, worker={"concurrency": 7}):
        (server,) = eventually(
            lambda: [one for one in asynqmon.ask("/servers")["servers"] if one["active_workers"]],
            PATIENCE,
        )
        assert (server["status"], server["concurrency"]) == ("active", 7)
        assert server["queue_priorities"] == {"low": 1, "high": 6}
        (worker,) = server["active_workers"]
        assert (worker["task_id"], worker["queue"], worker["task_type"]) == ("t1", "low", "hold")
        assert worker["task_payload"] == '{"a":1}'
        (row,) = asynqmon.ask("/queues/low/active_tasks")["tasks"]
        assert "-" not in (row["start_time"], row["deadline"])
        peer.release("t1")
        peer.journal.wait("end", "t1")


def test_asynqmon_shows_qds_periodic_tasks_and_their_ticks(asynqmon: Monitor, peer: Peer) -> None:
    def declare(app: qd.App) -> None:
        @app.schedule("30 4 1 1 *", name="yearly", queue="low", max_retry=3, timeout="30s")
        async def yearly() -> None: ...

        @app.schedule("@every 1s", name="tick", queue="ticks")
        async def tick() -> None: ...

    with peer.working({"other": 1}, declare=declare, scheduler={"heartbeat": 1}):
        shown = eventually(lambda: asynqmon.ask("/scheduler_entries")["entries"], PATIENCE)
        entries = {one["spec"]: one for one in shown}
        assert entries.keys() == {"30 4 1 1 *", "@every 1s"}
        assert "prev_enqueue_at" not in entries["30 4 1 1 *"]
        assert set(entries["30 4 1 1 *"]["options"]) >= {'Queue("low")', "MaxRetry(3)"}
        path = f"/scheduler_entries/{entries['@every 1s']['id']}/enqueue_events"
        (event, *_) = eventually(lambda: asynqmon.ask(path)["events"], PATIENCE)
        assert event["task_id"].startswith("cron:tick:")


def test_what_is_pressed_in_asynqmon_holds_for_qd(
    asynqmon: Monitor, steps: Steps, peer: Peer, raw: redis.Redis
) -> None:
    with tasks_of_qd(peer, steps):
        asynqmon.ask("/queues/default:pause", "POST")
        assert peer.inspector.queues.info("default").paused
        # It has no button that runs a pending task, or archives a completed one.
        for state in RUNNABLE:
            if state != "completed":
                asynqmon.ask(f"{path_of(state)}/{state}:run", "POST")
        moved = [state for state in RUNNABLE if state != "completed"]
        assert states_seen_by_qd(peer) == unchanged_but(moved, "pending")
        for state in set(moved) & set(ARCHIVABLE) | {"pending"}:
            asynqmon.ask(f"{path_of('pending')}/{state}:archive", "POST")
        now = states_seen_by_qd(peer)
        assert now == {**unchanged_but(moved, "archived"), "archived": "pending",
                       "pending": "archived"}  # fmt: skip
        for task_id in WAITING:
            asynqmon.ask(f"{path_of(now[task_id])}/{task_id}", "DELETE")
        assert states_seen_by_qd(peer) == {"active": "active"}
        assert raw.keys("*:unique:*") == []
        asynqmon.ask(f"{path_of('active')}/active:cancel", "POST")
        assert peer.journal.wait("end", "active")["error"] is not None
        steps.wait_queue("default", retry=1, active=0)
        with pytest.raises(urllib.error.HTTPError) as refused:
            asynqmon.ask("/queues/default", "DELETE")
        assert refused.value.code == 400
        refused.value.close()
        asynqmon.ask(f"{path_of('retry')}:delete_all", "DELETE")
        asynqmon.ask("/queues/default:resume", "POST")
        assert not peer.inspector.queues.info("default").paused
    asynqmon.ask("/queues/default", "DELETE")
    assert peer.inspector.queues.names() == []
