"""Back-pressure: what becomes of new tasks when a queue has too many, and who hears of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest
import redis

from qd import App
from qd.app.client import make_bounds
from qd.broker.connect import open_async_link
from qd.client.client import NewEnqueue
from qd.client.info import TaskInfo
from qd.client.room import PressureChange
from qd.errors import DuplicateTask, QueueFull, TaskIdConflict
from qd.handlers.options import TaskOptions
from qd.maintenance.levels import Levels
from qd.protocol import keys
from tests.support.wait import aeventually, eventually

MakeApp = Callable[..., App]

PRODUCER = """
import sys
from qd import App
from qd.client.client import NewEnqueue
app = App(config={"redis": {"addrs": [sys.argv[1]]}, "backpressure": {"enabled": True, "max_size": 1000}})
sys.stdin.readline()
out = app.client.enqueue_many([NewEnqueue("t", n) for n in range(700)])
print(sum(not isinstance(one, Exception) for one in out))
app.close()
"""


def bounded(make_app: MakeApp, **settings: Any) -> App:
    return make_app(backpressure={"enabled": True, "max_size": 10, **settings})


def fill(app: App, count: int) -> list[TaskInfo]:
    return [app.client.enqueue("t", n) for n in range(count)]


def size(raw: redis.Redis, queue: str = "default") -> int:
    return int(raw.llen(keys.pending(queue)))  # type: ignore[arg-type]


def test_a_queue_without_a_bound_takes_in_everything_and_keeps_no_books(
    make_app: MakeApp, raw: redis.Redis
) -> None:
    app = make_app()
    fill(app, 30)
    assert size(raw) == 30
    assert not raw.exists(keys.pressure("default"))


def test_new_tasks_are_refused_from_critical_on_with_the_numbers(
    make_app: MakeApp, raw: redis.Redis
) -> None:
    app = bounded(make_app)
    fill(app, 9)
    with pytest.raises(
        QueueFull, match=r"default is full: 9 tasks .* from 9 on .* max_size 10"
    ) as e:
        app.client.enqueue("t")
    assert (e.value.queue, e.value.size, e.value.limit) == ("default", 9, 9)
    assert e.value.exit_code == 6
    assert size(raw) == 9
    view = app.inspector().queues.info("default")
    assert (view.pressure, view.refused, view.dropped) == ("critical", 1, 0)


@pytest.mark.parametrize("state", ["active", "scheduled", "retry"])
def test_delayed_failed_and_running_tasks_count(
    make_app: MakeApp, raw: redis.Redis, state: str
) -> None:
    app = bounded(make_app)
    key = keys.prefix("default") + state
    ids = [f"x{n}" for n in range(9)]
    if state == "active":
        raw.rpush(key, *ids)
    else:
        raw.zadd(key, dict.fromkeys(ids, 1))
    with pytest.raises(QueueFull):
        app.client.enqueue("t")


@pytest.mark.parametrize("state", ["archived", "completed"])
def test_tasks_that_have_ended_do_not_count(
    make_app: MakeApp, raw: redis.Redis, state: str
) -> None:
    app = bounded(make_app)
    raw.zadd(keys.prefix("default") + state, {f"x{n}": 1 for n in range(9)})
    app.client.enqueue("t")


@pytest.mark.parametrize("option", [{"process_in": "1h"}, {"group": "g"}, {"unique": "1h"}])
def test_a_full_queue_takes_in_no_task_of_any_kind(
    make_app: MakeApp, raw: redis.Redis, option: dict[str, Any]
) -> None:
    app = bounded(make_app)
    fill(app, 9)
    before = sorted(raw.keys("asynq:*"))  # type: ignore[type-var, arg-type]
    with pytest.raises(QueueFull):
        app.client.enqueue("u", **option)
    assert sorted(raw.keys("asynq:*")) == before  # type: ignore[type-var, arg-type]


def test_many_are_decided_one_by_one_and_other_refusals_take_no_room(
    make_app: MakeApp, raw: redis.Redis
) -> None:
    app = bounded(make_app)
    app.client.enqueue("u", task_id="twin")
    app.client.enqueue("u", 1, unique="1h")
    new = [NewEnqueue("u", None, TaskOptions.of(task_id="twin")) for _ in range(5)]
    new += [NewEnqueue("u", 1, TaskOptions.of(unique="1h"))]
    new += [NewEnqueue("t", n) for n in range(10)]
    out = app.client.enqueue_many(new)
    assert [type(one) for one in out] == (
        [TaskIdConflict] * 5 + [DuplicateTask] + [TaskInfo] * 7 + [QueueFull] * 3
    )
    assert size(raw) == 9
    assert app.inspector().queues.info("default").refused == 3


def test_a_repeated_task_that_is_in_says_so_even_if_the_queue_is_full(make_app: MakeApp) -> None:
    app = bounded(make_app)
    fill(app, 8)
    app.client.enqueue("t", task_id="mine")
    with pytest.raises(TaskIdConflict):
        app.client.enqueue("t", task_id="mine")


def test_a_level_is_left_a_margin_below_its_mark(make_app: MakeApp, raw: redis.Redis) -> None:
    app = bounded(make_app, hysteresis=0.2)
    fill(app, 9)
    raw.lpop(keys.pending("default"), 2)
    with pytest.raises(QueueFull):
        app.client.enqueue("t")
    raw.lpop(keys.pending("default"), 1)
    app.client.enqueue("t")
    assert app.inspector().queues.info("default").pressure == "warning"


def test_drop_says_that_it_dropped_and_counts(make_app: MakeApp, raw: redis.Redis) -> None:
    app = bounded(make_app, policy="drop")
    assert not any(one.dropped for one in fill(app, 9))
    assert all(one.dropped for one in fill(app, 3))
    assert size(raw) == 9
    assert app.inspector().queues.info("default").dropped == 3
    assert app.inspector().stats.overview().totals["dropped"] == 3


async def test_wait_takes_the_task_in_when_there_is_room(
    make_app: MakeApp, raw: redis.Redis
) -> None:
    """Whoever waits is not counted as refused."""
    app = bounded(make_app, policy="wait", wait="1h", hysteresis=0)
    fill(app, 9)

    waiting = asyncio.ensure_future(app.client.aenqueue("t", task_id="patient"))
    await aeventually(lambda: raw.exists(keys.pressure("default")))
    raw.lpop(keys.pending("default"), 1)
    assert (await waiting).id == "patient"
    new = [NewEnqueue("t", None, TaskOptions.of(task_id=f"many{n}")) for n in range(3)]
    waiting_many = asyncio.ensure_future(app.client.aenqueue_many(new))
    raw.lpop(keys.pending("default"), 3)
    assert [one.id for one in await waiting_many if isinstance(one, TaskInfo)] == [
        "many0", "many1", "many2",
    ]  # fmt: skip
    assert app.inspector().queues.info("default").refused == 0
    await app.client.aclose()


def test_wait_refuses_in_the_end_and_counts_once(make_app: MakeApp) -> None:
    app = bounded(make_app, policy="wait", wait="300ms")
    fill(app, 9)
    with pytest.raises(QueueFull):
        app.client.enqueue("t")
    out = app.client.enqueue_many([NewEnqueue("t"), NewEnqueue("t")])
    assert [type(one) for one in out] == [QueueFull, QueueFull]
    assert app.inspector().queues.info("default").refused == 3


def test_queues_have_bounds_of_their_own_named_without_the_prefix(make_app: MakeApp) -> None:
    app = make_app(
        queue_prefix="prod_",
        backpressure={"max_size": 100, "queues": {"low": {"enabled": True, "max_size": 2}}},
    )
    fill(app, 20)
    app.client.enqueue("t", queue="low")
    app.client.enqueue("t", queue="low")
    with pytest.raises(QueueFull, match="prod_low"):
        app.client.enqueue("t", queue="low")


async def test_each_change_of_level_is_told_once(make_app: MakeApp, raw: redis.Redis) -> None:
    app = bounded(make_app)
    heard: list[PressureChange] = []

    @app.on_backpressure
    def broken(change: PressureChange) -> None:
        raise RuntimeError("a hook of the user")

    app.on_backpressure(heard.append)
    fill(app, 9)
    with pytest.raises(QueueFull):
        app.client.enqueue("t")
    assert [(one.before, one.level, one.size) for one in heard] == [
        ("ok", "warning", 7),
        ("warning", "critical", 9),
    ]
    raw.delete(keys.pending("default"))
    # Nobody enqueues: the scheduler sees it.
    link = open_async_link(app.connection.endpoint)
    bounds = make_bounds(app.settings, app.pressure_hooks)
    assert bounds is not None
    levels = Levels(link, ["default"], bounds, interval=30)
    for _ in range(2):
        assert await levels.step(1.0) == 30
    assert [(one.level, one.size) for one in heard[2:]] == [("ok", 0)]
    await link.close()


def test_what_an_operator_brings_back_is_not_refused(make_app: MakeApp) -> None:
    app = bounded(make_app)
    first = fill(app, 9)[0].id
    tasks = app.inspector().tasks
    tasks.archive("default", first)
    app.client.enqueue("t")
    tasks.run("default", first)
    app.client.send_to_dead_letter("x", None, "for the record")
    assert app.inspector().queues.info("default").pending == 10


def test_producers_in_many_processes_together_stop_at_the_mark(
    make_app: MakeApp, raw: redis.Redis, redis_url: str, tmp_path: Path
) -> None:
    """2,800 tasks meet at a mark of 900: each producer is told of its own, and the sum is exact."""
    script = tmp_path / "producer.py"
    script.write_text(PRODUCER)
    producers = [
        Popen([sys.executable, str(script), redis_url], stdin=PIPE, stdout=PIPE, text=True)
        for _ in range(4)
    ]
    taken_in = 0
    for one in producers:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in producers:
        out, _ = one.communicate(timeout=60)
        taken_in += int(out)
    assert taken_in == 900
    assert eventually(lambda: size(raw)) == 900
    assert make_app().inspector().queues.info("default").refused == 2800 - 900
