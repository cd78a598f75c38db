"""Worker processes, what they run, schedulers, their entries and history."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
import redis

from qd.broker.link import Link
from qd.errors import NotFound, UsageError
from qd.inspector.inspector import Inspector
from qd.protocol import keys
from qd.protocol.message import SchedulerEntry, ServerInfo, WorkerInfo
from qd.protocol.ops import cron, presence
from tests.inspector.stored import NOW

NS = 10**9
ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def _info(host: str = "host-1", pid: int = 42, server_id: str = ID) -> ServerInfo:
    return ServerInfo(
        host, pid, server_id, 10, (("low", 1), ("high", 6)), False, "active", NOW * NS, 2
    )


def _worker(task_id: str, started: int) -> WorkerInfo:
    return WorkerInfo(
        "host-1", 42, ID, task_id, "email:send", b"{}", "mail", started * NS, (started + 60) * NS
    )


def _show(link: Link, info: ServerInfo, *running: WorkerInfo, now: int = NOW) -> None:
    link.execute_many(presence.write_server(info, running, now=now))


def test_a_worker_process_is_shown_with_what_it_runs(inspector: Inspector, link: Link) -> None:
    _show(link, _info(), _worker("t2", NOW - 5), _worker("t1", NOW - 9))
    (server,) = inspector.servers.list()
    assert (server.id, server.host, server.pid, server.status) == (ID, "host-1", 42, "active")
    assert (server.concurrency, server.active_workers, server.strict_priority) == (10, 2, False)
    assert server.queues == (("high", 6), ("low", 1))
    assert server.started == datetime.fromtimestamp(NOW, UTC)
    assert [one.task_id for one in server.running] == ["t1", "t2"]
    assert json.loads(json.dumps(server.as_dict()))["running"][0] == {
        "task_id": "t1",
        "type": "email:send",
        "queue": "mail",
        "payload": {},
        "payload_text": None,
        "payload_base64": None,
        "started": "2025-12-31T23:59:51Z",
        "deadline": "2026-01-01T00:00:51Z",
        "server_id": ID,
        "host": "host-1",
        "pid": 42,
    }


def test_worker_processes_are_sorted_and_the_silent_left_out_but_not_removed(
    inspector: Inspector, link: Link, raw: redis.Redis
) -> None:
    _show(link, _info("b", 1, "id-1"))
    _show(link, _info("a", 10, "id-2"))
    _show(link, _info("a", 9, "id-3"))
    _show(link, _info("a", 1, "silent"), now=NOW - 60)
    assert [(one.host, one.pid) for one in inspector.servers.list()] == [
        ("a", 9),
        ("a", 10),
        ("b", 1),
    ]
    assert raw.zcard(keys.SERVERS) == 4


def test_reports_that_cannot_be_read_hide_no_others(
    inspector: Inspector, link: Link, raw: redis.Redis
) -> None:
    _show(link, _info(), _worker("t1", NOW))
    raw.hset(keys.workers("host-1", 42, ID), "bad", b"\xff\xff")
    for name, value in (("bad", b"\xff\xff"), ("expired", None)):
        raw.zadd(keys.SERVERS, {keys.server(name, 1, name): NOW + 10})
        if value:
            raw.set(keys.server(name, 1, name), value)
    (server,) = inspector.servers.list()
    assert [one.task_id for one in server.running] == ["t1"]


def test_no_worker_processes_is_an_answer(inspector: Inspector) -> None:
    assert inspector.servers.list() == []
    assert inspector.schedulers.entries() == []


def test_a_worker_process_is_found_by_the_beginning_of_its_name(
    inspector: Inspector, link: Link
) -> None:
    _show(link, _info("web-1", 10, "abc-1"))
    _show(link, _info("web-1", 100, "abd-2"))
    find = inspector.servers.find
    assert find("abc").id == "abc-1"
    assert find("abd-2").id == "abd-2"
    assert find("web-1:100").pid == 100
    assert find("web-1:10").pid == 10
    with pytest.raises(UsageError, match=r"abc-1 \(web-1:10\), abd-2 \(web-1:100\)"):
        find("ab")
    with pytest.raises(NotFound, match='Did you mean "abc-1"'):
        find("abx-1")
    with pytest.raises(NotFound):
        find("")


def _entry(entry_id: str, spec: str, *, prev: int | None = None) -> SchedulerEntry:
    return SchedulerEntry(
        entry_id, spec, "email:send", b'{"a":1}', ('Queue("low")',), (NOW + 30) * NS, prev
    )


def test_entries_of_all_live_schedulers_are_shown(
    inspector: Inspector, link: Link, raw: redis.Redis
) -> None:
    link.execute_many(
        [
            *presence.write_entries(
                "web-1:42:uuid-1", [_entry("e1", "@every 30s")], now=NOW, ttl=20
            ),
            *presence.write_entries("web-2:7:uuid-2", [_entry("e2", "0 5 * * *")], now=NOW, ttl=20),
            *presence.write_entries("old:1:uuid-3", [_entry("e3", "@daily")], now=NOW - 60, ttl=20),
        ]
    )
    raw.rpush(keys.scheduler("web-1:42:uuid-1"), b"\xff\xff")
    entries = inspector.schedulers.entries()
    assert [(one.id, one.host) for one in entries] == [("e2", "web-2"), ("e1", "web-1")]
    assert json.loads(json.dumps(entries[1].as_dict())) == {
        "id": "e1",
        "spec": "@every 30s",
        "type": "email:send",
        "payload": {"a": 1},
        "payload_text": None,
        "payload_base64": None,
        "options": ['Queue("low")'],
        "next": "2026-01-01T00:00:30Z",
        "prev": None,
        "scheduler_id": "web-1:42:uuid-1",
        "host": "web-1",
    }


def test_the_history_of_an_entry_begins_with_the_latest(
    inspector: Inspector, link: Link, raw: redis.Redis
) -> None:
    for n in range(5):
        link.execute_many(cron.record_event("e1", f"t{n}", now_ns=(NOW + n) * NS))
    events = inspector.schedulers.events
    assert [one.task_id for one in events("e1")] == ["t4", "t3", "t2", "t1", "t0"]
    assert [one.task_id for one in events("e1", limit=2, offset=1)] == ["t3", "t2"]
    assert events("e1", limit=0) == []
    assert events("unknown") == []
    assert events("e1")[0].as_dict() == {"task_id": "t4", "enqueued_at": "2026-01-01T00:00:04Z"}
    raw.zadd(keys.scheduler_history("e1"), {b"\xff\xff": NOW + 9})
    assert len(events("e1")) == 5
    with pytest.raises(UsageError):
        events("e1", limit=-1)
