"""`qd server`, `qd doctor`: what others publish, and what is wrong with it."""

from __future__ import annotations

import time

import redis

from qd.protocol import keys
from qd.protocol.constants import ARCHIVE_MAX
from tests.cli.conftest import Cli, Store


def _results(cli: Cli, *, code: int = 0) -> dict[str, tuple[str, str]]:
    checks = cli("doctor", "--json", code=code).json["checks"]
    return {one["point"]: (one["result"], one["detail"]) for one in checks}


def test_server_ls_shows_live_worker_processes(cli: Cli, store: Store) -> None:
    assert "No worker process is alive" in cli("server", "ls").err
    store.worker("default", "low", running="x1")
    row = cli("server", "ls").lines[1].split()
    assert row[:3] == ["web-1", "7", "s1"]
    assert "1/10" in row
    assert cli("server", "ls", "--json").json["servers"][0]["queues"] == {"default": 1, "low": 1}


def test_server_show_has_the_running_tasks(cli: Cli, store: Store) -> None:
    store.worker("default", running="x1")
    assert "x1" in cli("server", "show", "web-1:7").out
    found = cli("server", "show", "s1", "--json").json["server"]
    assert [one["task_id"] for one in found["running"]] == ["x1"]
    cli("server", "show", "web-9:1", code=3)


def test_doctor_is_content_when_all_is_well(cli: Cli, store: Store, raw: redis.Redis) -> None:
    store.task()
    store.worker("default")
    raw.config_set("appendonly", "yes")
    results = _results(cli)
    raw.config_set("appendonly", "no")
    assert {result for result, _ in results.values()} == {"ok"}
    assert results["persistence"] == ("ok", "append-only file")


def test_doctor_names_queues_nobody_serves(cli: Cli, store: Store) -> None:
    store.worker("low")
    store.task()
    results = _results(cli, code=1)
    assert results["queue default"] == ("problem", "1 task pending, and no worker serves it")
    assert results["workers"][0] == "ok"


def test_doctor_names_types_nobody_has_a_handler_for(cli: Cli, store: Store) -> None:
    store.worker("default", types=("email:", "pdf:render"))
    store.task()
    result, detail = _results(cli, code=1)["type a"]
    assert result == "problem"
    assert "handlers for email:, pdf:render" in detail


def test_doctor_notices_that_no_worker_is_alive(cli: Cli) -> None:
    assert _results(cli, code=1)["workers"][0] == "problem"
    assert cli("doctor", code=1).err == "1 problem found\n"


def test_doctor_warns_without_failing(cli: Cli, store: Store, raw: redis.Redis) -> None:
    """A paused queue, a lost lease, a full archive and an eviction policy are worth a word."""
    store.worker("default", "low")
    store.task(queue="low")
    store.task(task_id="x1")
    store.take()
    raw.zadd(keys.lease("default"), {"x1": 1})
    raw.zadd(keys.archived("default"), {f"d{n}": 1 for n in range(ARCHIVE_MAX)})
    cli("queue", "pause", "low")
    raw.config_set("maxmemory-policy", "allkeys-lru")
    checks = cli("doctor", "--quick", "--json").json["checks"]
    raw.config_set("maxmemory-policy", "noeviction")
    warned = [(one["point"], one["detail"]) for one in checks if one["result"] == "warning"]
    assert ("queue low", "paused, with 1 task pending") in warned
    assert ("queue default", "1 running task without a live lease") in warned
    assert any("10000 dead tasks" in detail for _, detail in warned)
    assert any(point == "eviction" for point, _ in warned)


def test_doctor_says_when_evicted_tasks_are_to_be_feared(cli: Cli, raw: redis.Redis) -> None:
    raw.config_set("maxmemory", "200mb")
    raw.config_set("maxmemory-policy", "allkeys-lru")
    results = _results(cli, code=1)
    raw.config_set("maxmemory", "0")
    raw.config_set("maxmemory-policy", "noeviction")
    assert results["eviction"][0] == "problem"
    assert "of maxmemory is used" in results["memory"][1]


def test_doctor_stops_where_redis_does_not_answer() -> None:
    Cli("redis://127.0.0.1:1")("doctor", code=69)


def test_orders_are_refused_for_servers_of_asynq(cli: Cli, store: Store, raw: redis.Redis) -> None:
    store.worker("default", host="go-1")
    raw.delete(*raw.keys("qd:types:*"))
    assert "takes no orders" in cli("server", "quiet", "go-1", code=1).err
    assert "No worker process is alive" in cli("server", "quiet", "--all", code=3).err
    cli("server", "stop", "nope", "-y", code=3)
    cli("server", "resume", code=2)


def test_a_worker_that_does_not_obey_is_told_of(cli: Cli, store: Store) -> None:
    store.worker("default", host="web-1")
    done = cli("server", "quiet", "web-1", "--timeout", "100ms", code=124)
    assert "web-1:7 is active after 100ms" in done.err


def test_a_flushed_group_is_ripe_and_keeps_its_order(
    cli: Cli, store: Store, raw: redis.Redis
) -> None:
    for n in range(3):
        store.task(task_id=f"x{n}", group="g")
    raw.zadd(keys.group("default", "g"), {"x2": 9_999_999_999, "x0": 1_000_000_001})
    done = cli("group", "flush", "g", "--json").json["done"]
    assert done == [{"group": "g", "queues": ["default"], "tasks": 3}]
    (newest,) = raw.zrange(keys.group("default", "g"), -1, -1)
    assert newest == b"x2", "a task from the future is not meant"
    raw.zrem(keys.group("default", "g"), "x2")
    scores = raw.zrange(keys.group("default", "g"), 0, -1, withscores=True)
    assert [one for one, _ in scores] == [b"x0", b"x1"]
    assert all(score < time.time() - 300 * 86_400 for _, score in scores)
    cli("group", "flush", "nope", code=3)
    cli("group", "flush", code=2)
