"""asynq's own tools show qd: its queues, tasks, servers, workers and periodic tasks."""

from __future__ import annotations

import calendar
import json
import os
import pty
import re
import signal
import subprocess
import time
from contextlib import closing
from typing import Any

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

import qd
from qd.broker.connect import open_link
from qd.broker.endpoint import parse_addresses
from qd.monitor import families
from qd.monitor.backlog import BacklogReader
from qd.monitor.totals import Totals
from qd.protocol import codec
from qd.protocol.message import EnqueueEvent
from tests.compat.asynq import Asynq, Steps
from tests.compat.asynq_build import program
from tests.compat.peer import PATIENCE, Peer, kill_all
from tests.compat.test_operators import STATES, tasks_of_qd
from tests.support.servers import RedisServer
from tests.support.wait import eventually

pytestmark = pytest.mark.compat


def rows(table: str) -> list[list[str]]:
    """The data rows of a table of asynq's command line; columns are two spaces apart or more."""
    lines = [line.rstrip() for line in table.splitlines()]
    first = next(index for index, line in enumerate(lines) if line.startswith("--")) + 1
    return [re.split(r" {2,}", line) for line in lines[first:] if line]


def test_every_command_that_reads_shows_qds_queues_and_tasks(
    asynq: Asynq, steps: Steps, peer: Peer
) -> None:
    with tasks_of_qd(peer, steps):
        stats = asynq.cli("stats")
        assert "Task Count by State" in stats
        assert "default" in stats
        assert asynq.cli("queue", "ls").split() == ["default"]
        inspected = asynq.cli("queue", "inspect", "default")
        assert re.search(r"Size: +7\n", inspected)
        history = rows(asynq.cli("queue", "history", "default", "--days=2"))
        assert history[0][1:] == ["3", "2", "66.67%"]
        assert asynq.cli("group", "ls", "--queue=default").split() == ["g1"]
        for state in STATES:
            group = ["--group=g1"] if state == "aggregating" else []
            (row,) = rows(asynq.cli("task", "ls", "--queue=default", f"--state={state}", *group))
            assert row[0] == state
            task = asynq.cli("task", "inspect", "--queue=default", f"--id={state}")
            assert re.search(rf"State: +{state}\n", task)
        failed = asynq.cli("task", "inspect", "--queue=default", "--id=retry")
        assert "Error message: Failed: failed" in failed


def test_the_figures_of_asynqs_stats_are_those_of_qds(
    asynq: Asynq, steps: Steps, peer: Peer
) -> None:
    with tasks_of_qd(peer, steps):
        peer.inspector.queues.pause("default")
        ours = peer.inspector.queues.info("default", memory=True)
        full = json.loads(asynq.cli("stats", "--json"))
        (theirs,) = full["queues"]
        totals = full["aggregate"]
        for state in STATES:
            assert theirs[state.capitalize()] == totals[state] == getattr(ours, state) == 1
        assert (theirs["Size"], theirs["Groups"]) == (ours.size, ours.groups) == (7, 1)
        assert theirs["Paused"] is ours.paused is True
        assert (theirs["Processed"], theirs["Failed"]) == (ours.processed, ours.failed) == (3, 2)
        assert theirs["ProcessedTotal"] == ours.processed_total == 3
        assert theirs["Latency"] / 1e9 == pytest.approx(ours.latency, abs=1)
        assert ours.latency > 0
        # asynq leaves the containers of groups out.
        assert theirs["MemoryUsage"] == pytest.approx(ours.memory, rel=0.15)
        history = steps.inspect("history", days=3)
        ours_by_day = peer.inspector.queues.history("default", 3)
        assert [(day["processed"], day["failed"]) for day in history] == [
            (day.processed, day.failed) for day in ours_by_day
        ]


def test_a_scrape_of_asynqs_metrics_agrees_with_qd(asynq: Asynq, steps: Steps, peer: Peer) -> None:
    with tasks_of_qd(peer, steps):
        peer.inspector.queues.pause("default")
        ours = peer.inspector.queues.info("default", memory=True)
        scraped = dict(
            line.rsplit(" ", 1)
            for line in asynq.metrics().splitlines()
            if line.startswith("asynq_")
        )
        for state in set(STATES) - {"aggregating"}:
            name = f'asynq_tasks_enqueued_total{{queue="default",state="{state}"}}'
            assert float(scraped[name]) == getattr(ours, state) == 1
        expected: dict[str, Any] = {
            "asynq_queue_size": ours.size,
            "asynq_tasks_processed_total": ours.processed_total,
            "asynq_tasks_failed_total": ours.failed_total,
            "asynq_queue_paused_total": 1,
            "asynq_queue_latency_seconds": pytest.approx(ours.latency, abs=2),
            "asynq_queue_memory_usage_approx_bytes": pytest.approx(ours.memory, rel=0.15),
        }
        for name, value in expected.items():
            assert float(scraped[f'{name}{{queue="default"}}']) == value


def test_the_metrics_of_qd_are_those_of_asynqs_exporter(
    asynq: Asynq, steps: Steps, peer: Peer, server: RedisServer
) -> None:
    with tasks_of_qd(peer, steps), closing(open_link(parse_addresses([server.url]))) as link:
        peer.inspector.queues.pause("default")
        backlog = BacklogReader(link).read()
        ours = families.page(families.Scene(Totals(lambda _: True), (), backlog, ready=True))
        theirs = parsed(asynq.metrics())
        shown = parsed(ours.decode())
        of_asynq = {one for one in theirs if one[0].startswith("asynq_")}
        assert len(of_asynq) > 10
        assert of_asynq <= shown.keys()
        for one in of_asynq:
            kind, value = theirs[one]
            # Two moments, and two samples.
            close = {"asynq_queue_latency_seconds": {"abs": 2}}.get(one[0], {"rel": 0.15})
            assert shown[one] == (kind, pytest.approx(value, **close)), one


def parsed(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], tuple[str, float]]:
    """Type and value of each sample, by name and labels."""
    return {
        (one.name, tuple(sorted(one.labels.items()))): (family.type, one.value)
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_asynqs_dashboard_draws_qds_queues(steps: Steps, peer: Peer, server: RedisServer) -> None:
    with tasks_of_qd(peer, steps):
        screen, terminal = pty.openpty()
        dash = subprocess.Popen(
            # A terminal of its own is what it wants to draw on.
            ["setsid", "--ctty", program("asynq"), "dash", "--uri", f"127.0.0.1:{server.port}"],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env={**os.environ, "TERM": "xterm", "LINES": "40", "COLUMNS": "160"},
        )
        os.close(terminal)
        os.set_blocking(screen, False)
        drawn = bytearray()

        def shows(*words: bytes) -> bool:
            try:
                drawn.extend(os.read(screen, 65536))
            except BlockingIOError:
                pass
            except OSError:  # the terminal is closed with the program
                assert all(word in drawn for word in words), drawn
            return all(word in drawn for word in words)

        try:
            eventually(lambda: shows(b"default"), PATIENCE)
            os.write(screen, b"j\r")
            eventually(lambda: shows(b"Queue Summary", b"Aggregating:1"), PATIENCE)
            os.write(screen, b"\x03")
            assert dash.wait(PATIENCE) == 0
        finally:
            dash.kill()
            dash.wait()
            os.close(screen)


def test_a_worker_of_qd_is_a_server_for_asynq(
    asynq: Asynq, steps: Steps, peer: Peer, raw: redis.Redis
) -> None:
    """Running, told to stop fetching by TSTP, and gone at once after TERM."""
    peer.client.enqueue("hold", {"a": 1}, task_id="t1", queue="low", timeout="5m")
    with peer.processes({"low": 1, "high": 6}, worker={"concurrency": 7}) as proc:
        started = peer.journal.wait("start", "t1")
        (info,) = eventually(
            lambda: [one for one in steps.inspect("servers") if one["active_workers"]], PATIENCE
        )
        assert (info["pid"], info["status"]) == (started["pid"], "active")
        assert (info["concurrency"], info["queues"]) == (7, {"low": 1, "high": 6})
        (worker,) = info["active_workers"]
        assert (worker["task_id"], worker["task_type"], worker["queue"]) == ("t1", "hold", "low")
        assert worker["deadline"] - worker["started"] == pytest.approx(300, abs=2)
        (row,) = rows(asynq.cli("server", "ls"))
        assert row[1:5] == [str(started["pid"]), "active", "1/7", "high:6 low:1"]

        proc.signal(signal.SIGTSTP)
        eventually(lambda: "stopped" in asynq.cli("server", "ls"), PATIENCE)
        peer.client.enqueue("ok", task_id="t2", queue="low")
        peer.release("t1")
        peer.journal.wait("end", "t1")
        assert steps.inspect("queue-info", queue="low")["pending"] == 1

        proc.signal(signal.SIGTERM)
        assert proc.wait(PATIENCE) == 0
        assert "No running servers" in asynq.cli("server", "ls")
        assert peer.journal.counts("start")["t2"] == 0
        assert raw.keys("asynq:servers*") == raw.keys("asynq:workers*") == []


def test_a_server_of_go_is_a_worker_for_qd(steps: Steps, peer: Peer) -> None:
    server_id = steps.start_server(queues={"low": 1, "high": 6}, strict=True, concurrency=2)
    (shown,) = peer.inspector.servers.list()
    assert (shown.id, shown.status, shown.concurrency) == (server_id, "active", 2)
    assert shown.queues == (("high", 6), ("low", 1))
    assert shown.strict_priority
    steps.stop_server()
    assert peer.inspector.servers.list() == []


def test_a_killed_worker_is_shown_for_ten_seconds_at_most(
    asynq: Asynq, peer: Peer, raw: redis.Redis
) -> None:
    with peer.processes() as proc:
        eventually(lambda: raw.zcard("asynq:servers"), PATIENCE)
        kill_all(proc)
        now = time.time()
        ((member, until),) = raw.zrange("asynq:servers", 0, -1, withscores=True)
        assert until <= now + 10
        assert raw.pttl(member) <= 10_000
        # As it is when that time has come.
        raw.zadd("asynq:servers", {member: int(now) - 1})
        assert "No running servers" in asynq.cli("server", "ls")


def declare_schedules(app: qd.App) -> None:
    options: dict[str, Any] = {
        "queue": "low",
        "max_retry": 3,
        "timeout": "30s",
        "unique": "1h",
        "retention": "24h",
    }

    @app.schedule("0 5 * * *", name="every option", payload={"a": 1}, **options)
    async def nightly() -> None: ...

    @app.schedule("@every 1s", name="with id", task_id="fixed (id)", group="g)", queue='a"b')
    async def odd() -> None: ...

    @app.schedule("30 4 1 1 *", name="plain")
    async def yearly() -> None: ...


def test_periodic_tasks_of_qd_are_entries_for_asynq(asynq: Asynq, steps: Steps, peer: Peer) -> None:
    with peer.working({"low": 1}, declare=declare_schedules):
        shown = eventually(lambda: steps.inspect("scheduler-entries"), PATIENCE)
        entries = {entry["spec"]: entry for entry in shown}
        assert entries.keys() == {"0 5 * * *", "@every 1s", "30 4 1 1 *"}
        # Those that Go's inspector understands, as Go itself would write them.
        assert set(entries["0 5 * * *"]["opts"]) == {
            'Queue("low")', "MaxRetry(3)", "Timeout(30s)", "Unique(1h0m0s)",
            "Retention(24h0m0s)",
        }  # fmt: skip
        assert entries["@every 1s"]["opts"] == ['Queue("a\\"b")']
        assert entries["30 4 1 1 *"]["prev"] is None
        assert entries["30 4 1 1 *"]["next"] > time.time()
        table = {row[1]: row for row in rows(asynq.cli("cron", "ls"))}
        assert table["30 4 1 1 *"][-1] == "N/A"
        assert table["0 5 * * *"][3] == '{"a":1}'
        assert "Retention(24h0m0s)" in table["0 5 * * *"][4]
        assert table.keys() == entries.keys()
    # A clean stop takes them off the list.
    assert "No scheduler entries" in asynq.cli("cron", "ls")


def test_what_is_added_at_run_time_is_an_entry_for_asynq_at_once(
    asynq: Asynq, steps: Steps, peer: Peer
) -> None:
    with peer.working({"low": 1}, declare=declare_schedules) as app:
        eventually(lambda: len(steps.inspect("scheduler-entries")) == 3, PATIENCE)
        app.schedules.add("added", "15 6 * * *", "report", {"b": 2}, queue="low")
        eventually(lambda: len(steps.inspect("scheduler-entries")) == 4, PATIENCE)
        table = {row[1]: row for row in rows(asynq.cli("cron", "ls"))}
        assert table["15 6 * * *"][3] == '{"b":2}'
        app.schedules.remove("added")
        eventually(lambda: len(steps.inspect("scheduler-entries")) == 3, PATIENCE)


def test_options_that_asynq_cannot_read_are_written_as_go_writes_them(
    peer: Peer, raw: redis.Redis
) -> None:
    """Go's inspector has no reader for TaskID and Group, and leaves out what holds a bracket."""
    with peer.working({"low": 1}, declare=declare_schedules):
        (key,) = eventually(lambda: raw.keys("asynq:schedulers:*"), PATIENCE)
        texts = {
            option for blob in raw.lrange(key, 0, -1) for option in codec.decode_entry(blob).options
        }
    assert 'TaskID("fixed (id)")' in texts
    assert 'Group("g)")' in texts


def test_the_ticks_of_qd_are_history_for_asynq(
    asynq: Asynq, steps: Steps, peer: Peer, raw: redis.Redis
) -> None:
    def declare(app: qd.App) -> None:
        @app.schedule("@every 1s", name="tick", queue="ticks")
        async def tick() -> None: ...

    with peer.working({"other": 1}, declare=declare, scheduler={"heartbeat": 1}):
        (entry,) = eventually(lambda: steps.inspect("scheduler-entries"), PATIENCE)
        key = f"asynq:scheduler_history:{entry['id']}"
        eventually(lambda: raw.exists(key), PATIENCE)
        # As after a long life: the oldest go.
        raw.zadd(key, {codec.encode_event(one): one.enqueued_ns // 10**9 for one in old_events()})
        eventually(lambda: raw.zcount(key, time.time() - 60, "+inf") >= 2, PATIENCE)
        eventually(lambda: raw.zcard(key) <= 1000, PATIENCE)
        eventually(lambda: steps.inspect("scheduler-entries")[0]["prev"] is not None, PATIENCE)
        history = rows(asynq.cli("cron", "history", entry["id"], "--size=2"))
        assert [row[0].startswith("cron:tick:") for row in history] == [True, True]
        events = steps.inspect("enqueue-events", id=entry["id"])
        pending = {one["id"] for one in steps.inspect("list-pending", queue="ticks")}
        assert {events[0]["task_id"], events[1]["task_id"]} <= pending
        assert events[0]["enqueued_at"] > events[1]["enqueued_at"]
        assert [one.task_id for one in peer.inspector.schedulers.events(entry["id"], 2)]
        assert raw.zscore(key, raw.zrange(key, -1, -1)[0]) == pytest.approx(time.time(), abs=5)


def old_events() -> list[EnqueueEvent]:
    return [EnqueueEvent(f"old-{number}", number * 10**9) for number in range(1, 1101)]


def test_the_periodic_tasks_of_go_are_entries_for_qd(asynq: Asynq, peer: Peer) -> None:
    entries = [{"spec": "@every 1s", "type": "tick", "queue": "low", "max_retry": 3}]
    with asynq.schedule(entries, heartbeat=1) as scheduler:
        fired = scheduler.next()["task"]["id"]
        (entry,) = eventually(peer.inspector.schedulers.entries, PATIENCE)
        assert (entry.spec, entry.type) == ("@every 1s", "tick")
        assert entry.options == ('Queue("low")', "MaxRetry(3)")
        events = eventually(lambda: peer.inspector.schedulers.events(entry.id), PATIENCE)
        assert events[-1].task_id == fired


def test_two_schedulers_enqueue_each_tick_once_and_one_survives_the_other(
    steps: Steps, peer: Peer
) -> None:
    """In processes of their own: the first is killed, and no tick is lost or doubled."""
    schedule = {"tick": {"spec": "@every 1s", "type": "t", "queue": "ticks"}}

    def ticks() -> list[str]:
        return sorted(
            one["id"] for one in steps.inspect("list-pending", queue="ticks", page_size=0)
        )

    def declare(app: qd.App) -> None:
        @app.schedule("@every 1s", name="tick", queue="ticks")
        async def tick() -> None: ...

    with peer.processes({"other": 1}, schedule=schedule) as proc:
        eventually(lambda: steps.inspect("queues") == ["ticks"], PATIENCE)
        with peer.working({"other": 1}, declare=declare):
            eventually(lambda: len(ticks()) >= 2, PATIENCE)
            kill_all(proc)
            before = len(ticks())
            eventually(lambda: len(ticks()) >= before + 2, PATIENCE)
    moments = [calendar.timegm(time.strptime(one[-20:], "%Y-%m-%dT%H:%M:%SZ")) for one in ticks()]
    assert moments == list(range(moments[0], moments[0] + len(moments)))
