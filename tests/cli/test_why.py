"""`qd task why`: each thing that keeps a task from running, by the code and in words."""

from __future__ import annotations

import time

import redis

from qd.protocol import keys
from tests.cli.conftest import Cli, Store


def _codes(cli: Cli, task_id: str, *args: str) -> list[str]:
    found = cli("task", "why", task_id, *args, "--json").json["why"]["reasons"]
    return [one["code"] for one in found]


def test_a_scheduled_task_says_when_it_is_due(cli: Cli, store: Store) -> None:
    store.worker("default")
    store.task(task_id="x", process_in="5m")
    assert _codes(cli, "x") == ["scheduled"]
    assert "is scheduled for in 5m (20" in cli("task", "why", "x").out


def test_a_task_whose_time_is_over_misses_a_scheduler(
    cli: Cli, store: Store, raw: redis.Redis
) -> None:
    store.worker("default")
    store.task(task_id="x", process_in="5m")
    raw.zadd(keys.scheduled("default"), {"x": int(time.time()) - 60})
    assert _codes(cli, "x") == ["scheduled", "not_forwarded"]


def test_a_pending_task_names_who_paused_its_queue(cli: Cli, store: Store) -> None:
    store.worker("default")
    store.task(task_id="x")
    cli("queue", "pause", "default")
    assert _codes(cli, "x") == ["paused"]
    text = cli("task", "why", "x").out
    assert "Queue default was paused" in text
    assert " by " in text
    assert "qd queue resume default" in text


def test_who_paused_is_not_told_of_a_later_pause_by_others(
    cli: Cli, store: Store, raw: redis.Redis
) -> None:
    store.task(task_id="x")
    cli("queue", "pause", "default")
    raw.set(keys.paused("default"), int(time.time()) + 1)
    assert cli("queue", "show", "default", "--json").json["queue"]["paused_by"] == ""
    cli("queue", "resume", "default")
    assert not raw.exists(keys.paused_by("default"))


def test_a_pending_task_that_nobody_takes(cli: Cli, store: Store) -> None:
    store.task(task_id="x")
    assert _codes(cli, "x") == ["no_server"]
    store.worker("low")
    assert _codes(cli, "x") == ["no_server"]
    store.worker("default", types=("other",))
    assert _codes(cli, "x") == ["no_handler"]
    store.worker("default", types=("a",))
    assert _codes(cli, "x") == ["next"]


def test_a_pending_task_counts_those_ahead(cli: Cli, store: Store) -> None:
    store.worker("default")
    for n in range(5):
        store.task(task_id=f"x{n}")
    why = cli("task", "why", "x3", "--json").json["why"]
    assert (why["ahead"], why["rate"], why["eta"]) == (3, None, None)
    assert "3 tasks of this queue are ahead of it." in cli("task", "why", "x3").out


def test_the_rate_of_the_day_gives_a_time(cli: Cli, store: Store, raw: redis.Redis) -> None:
    store.worker("default")
    for n in range(3):
        store.task(task_id=f"x{n}")
    day = time.strftime("%Y-%m-%d", time.gmtime())
    raw.set(keys.processed_on("default", day), 1000)
    why = cli("task", "why", "x2", "--json").json["why"]
    assert why["eta"] == 2 / why["rate"]
    assert "on average today" in cli("task", "why", "x2").out


def test_an_active_task_says_where_it_runs(cli: Cli, store: Store) -> None:
    store.task(task_id="x")
    store.take()
    assert _codes(cli, "x") == ["taken"]
    store.worker("default", host="web-9", pid=4121, running="x")
    assert _codes(cli, "x") == ["running"]
    assert "It runs on web-9, pid 4121" in cli("task", "why", "x").out


def test_an_active_task_without_a_worker_is_orphaned(
    cli: Cli, store: Store, raw: redis.Redis
) -> None:
    store.task(task_id="x")
    store.take()
    raw.zadd(keys.lease("default"), {"x": int(time.time()) - 1})
    assert _codes(cli, "x") == ["orphaned"]


def test_dead_tasks_say_what_they_died_of(cli: Cli, store: Store) -> None:
    store.dead("x1", error="TimeoutError: slow\nTraceback")
    assert _codes(cli, "x1") == ["exhausted"]
    assert "after 4 attempts: TimeoutError: slow." in cli("task", "why", "x1").out
    store.dead("x2", deaths=2)
    assert _codes(cli, "x2") == ["poison"]


def test_a_lock_is_told_of_with_its_holder(cli: Cli, store: Store, raw: redis.Redis) -> None:
    store.worker("default")
    store.task(task_id="x", unique="10m")
    assert _codes(cli, "x") == ["next", "holds_lock"]
    (lock,) = raw.keys(keys.unique_prefix("default") + "*")
    raw.set(lock, "other", ex=60)
    assert _codes(cli, "x") == ["next", "lock_held"]


def test_a_grouped_task_names_its_group(cli: Cli, store: Store) -> None:
    store.task(task_id="x", group="g")
    assert _codes(cli, "x") == ["grouped"]
    assert "qd group flush g" in cli("task", "why", "x").out


def test_a_task_that_is_gone_is_not_found(cli: Cli, store: Store) -> None:
    store.task(task_id="x")
    cli("task", "why", "nope", code=3)
