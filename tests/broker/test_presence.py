"""Presence: worker processes and schedulers are shown to asynq's tools for a while."""

from __future__ import annotations

import redis

from qd.broker.link import Link
from qd.protocol import codec, keys
from qd.protocol.message import SchedulerEntry, ServerInfo, WorkerInfo
from qd.protocol.ops import presence
from tests.support.builders import NOW, NOW_NS
from tests.support.servers import RedisServer
from tests.support.snapshot import snapshot

SERVER = ServerInfo("host", 7, "id", 10, (("mail", 3), ("low", 1)), True, "active", NOW_NS, 1)


def worker(task_id: str) -> WorkerInfo:
    return WorkerInfo("host", 7, "id", task_id, "email:send", b"{}", "mail", NOW_NS, None)


def entry(entry_id: str) -> SchedulerEntry:
    return SchedulerEntry(entry_id, "@every 30s", "email:send", b"{}", (), NOW_NS, None)


def test_a_worker_process_is_shown_as_asynq_shows_its_servers(link: Link, raw: redis.Redis) -> None:
    running = [worker("t1"), worker("t2")]
    link.execute_many(
        presence.write_server(SERVER, running, ["a", "b"], now=NOW, birthmark="boot 5")
    )
    assert snapshot(raw) == {
        "asynq:servers": {"asynq:servers:{host:7:id}": NOW + 10},
        "asynq:workers": {"asynq:workers:{host:7:id}": NOW + 10},
        "asynq:servers:{host:7:id}": codec.encode_server(SERVER),
        "asynq:workers:{host:7:id}": {
            one: codec.encode_worker(worker(one)) for one in ("t1", "t2")
        },
        "qd:types:{host:7:id}": b"a\nb",
        "qd:birthmarks:{host:7:id}": b"boot 5",
    }
    for key in (keys.server("host", 7, "id"), keys.workers("host", 7, "id")):
        assert 0 < raw.ttl(key) <= 10
    # Its leases may outlive the last sign of life.
    assert 15 < raw.ttl("qd:birthmarks:{host:7:id}") <= 25


def test_what_no_longer_runs_is_no_longer_shown(link: Link, raw: redis.Redis) -> None:
    link.execute_many(presence.write_server(SERVER, [worker("t1"), worker("t2")], now=NOW))
    link.execute_many(presence.write_server(SERVER, [worker("t2")], now=NOW))
    assert raw.hkeys(keys.workers("host", 7, "id")) == [b"t2"]
    link.execute_many(presence.write_server(SERVER, [], now=NOW))
    assert raw.exists(keys.workers("host", 7, "id")) == 0


def test_a_process_that_stops_is_taken_off_the_list(link: Link, raw: redis.Redis) -> None:
    other = ServerInfo("host", 8, "id2", 10, (), False, "active", NOW_NS, 0)
    link.execute_many(presence.write_server(SERVER, [worker("t1")], now=NOW, birthmark="boot 5"))
    link.execute_many(presence.write_server(other, [], now=NOW))
    link.execute_many(presence.clear_server("host", 7, "id"))
    assert snapshot(raw).keys() == {
        "asynq:servers",
        "asynq:servers:{host:8:id2}",
        "qd:types:{host:8:id2}",
    }
    assert raw.zrange(keys.SERVERS, 0, -1) == [b"asynq:servers:{host:8:id2}"]


def test_periodic_tasks_are_shown_for_the_given_seconds(link: Link, raw: redis.Redis) -> None:
    link.execute_many(presence.write_entries("s1", [entry("e1"), entry("e2")], now=NOW, ttl=20))
    link.execute_many(presence.write_entries("s1", [entry("e1"), entry("e3")], now=NOW, ttl=20))
    found = raw.lrange(keys.scheduler("s1"), 0, -1)
    assert {codec.decode_entry(one).id for one in found} == {"e1", "e3"}
    assert raw.zrange(keys.SCHEDULERS, 0, -1, withscores=True) == [
        (b"asynq:schedulers:{s1}", NOW + 20)
    ]
    assert 10 < raw.ttl(keys.scheduler("s1")) <= 20
    link.execute_many(presence.clear_entries("s1"))
    assert snapshot(raw) == {}


def test_a_scheduler_without_entries_shows_none(link: Link, raw: redis.Redis) -> None:
    link.execute_many(presence.write_entries("s1", [], now=NOW, ttl=20))
    assert raw.exists(keys.scheduler("s1")) == 0


def test_a_full_server_still_shows_who_is_there(link: Link, server: RedisServer) -> None:
    with server.configured(maxmemory="1"):
        link.execute_many(presence.write_server(SERVER, [worker("t1")], now=NOW))
        link.execute_many(presence.write_entries("s1", [entry("e1")], now=NOW, ttl=20))


def test_a_cancel_is_heard_by_who_listens(link: Link, raw: redis.Redis) -> None:
    assert link.execute(presence.publish_cancel("t1")) == 0
    with raw.pubsub() as listener:
        listener.subscribe(keys.CANCEL_CHANNEL)
        assert listener.get_message(timeout=5)
        assert link.execute(presence.publish_cancel("t1")) == 1
        heard = listener.get_message(timeout=5)
    assert heard is not None
    assert heard["data"] == b"t1"
