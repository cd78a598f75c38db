"""The janitor: what was kept long enough goes, with all that belongs to it, and nothing else."""

from __future__ import annotations

import time
from typing import Any

import pytest

from qd.broker.connect import open_link
from qd.broker.endpoint import Endpoint
from qd.client.client import Client
from qd.client.compose import Composer
from qd.handlers.options import NO_OPTIONS
from qd.maintenance.counters import Counters
from qd.maintenance.janitor import Janitor
from qd.protocol import constants, keys
from tests.maintenance.lab import Lab

NOW = float(int(time.time()))
WEEK = 7 * 24 * 3600


def janitor(lab: Lab, *queues: str, batch: int = 100, prefix: str = "") -> Janitor:
    return Janitor(
        lab.link,
        queues or ("q",),
        queue_prefix=prefix,
        interval=8.0,
        batch=batch,
        counts=Counters(),
    )


async def stored(lab: Lab, container: str, score: float, queue: str = "q", **terms: Any) -> str:
    task = lab.new(queue, **terms)
    key = keys.task(queue, task.id)
    lab.raw.hset(key, mapping={"msg": task.message, "state": container})
    lab.raw.zadd(f"{keys.prefix(queue)}{container}", {task.id: score})
    return task.id


async def test_completed_tasks_go_when_their_retention_ends_with_the_lock_they_hold(
    lab: Lab,
) -> None:
    over, kept = await stored(lab, "completed", NOW), await stored(lab, "completed", NOW + 1)
    lab.raw.hset(keys.task("q", over), "unique_key", "asynq:{q}:unique:x")
    lab.raw.set("asynq:{q}:unique:x", over)
    assert await janitor(lab).step(NOW) == 8.0
    assert lab.state(over) is None
    assert lab.state(kept) == "completed"
    assert lab.raw.exists("asynq:{q}:unique:x") == 0


@pytest.mark.parametrize("batch", [7, 10_000])
async def test_any_number_goes_in_slices_of_any_size(lab: Lab, batch: int) -> None:
    ids = [f"x{n}" for n in range(9000 if batch == 10_000 else 100)]
    lab.raw.zadd(keys.completed("q"), dict.fromkeys(ids, NOW - 1))
    for start in range(0, len(ids), 1000):
        with lab.raw.pipeline(transaction=False) as many:
            for one in ids[start : start + 1000]:
                many.hset(keys.task("q", one), mapping={"msg": b"x", "state": "completed"})
            many.execute()
    await janitor(lab, batch=batch).step(NOW)
    assert lab.raw.keys("*") == []


async def test_a_task_that_is_running_again_is_not_deleted_for_a_leftover_id(lab: Lab) -> None:
    task_id = await lab.pending()
    lab.raw.zadd(keys.completed("q"), {task_id: NOW - 1})
    await janitor(lab).step(NOW)
    assert lab.state(task_id) == "pending"


async def test_a_queue_whose_keys_are_broken_holds_up_no_other(lab: Lab) -> None:
    lab.raw.set(keys.completed("broken"), "a string")
    over = await stored(lab, "completed", NOW, "fine")
    await janitor(lab, "broken", "fine").step(NOW)
    assert lab.state(over, "fine") is None


async def test_explicit_dead_letters_go_after_a_week_and_archived_tasks_stay(
    lab: Lab, endpoint: Endpoint
) -> None:
    link = open_link(endpoint)
    composer = Composer(NO_OPTIONS, queue_prefix="p_", payload_limit=1 << 20)
    client = Client(composer, link=lambda: link, async_link=lambda: lab.link)
    letter = client.send_to_dead_letter("lost", {"a": 1}, "why").id
    young = client.send_to_dead_letter("young", {"a": 1}, "why").id
    link.close()
    queue = "p_dead_letter"
    lab.raw.zadd(keys.archived(queue), {letter: NOW - WEEK, young: NOW - WEEK + 1})
    ordinary = [await stored(lab, "archived", NOW - WEEK, queue) for _ in range(150)]
    own = await stored(lab, "archived", NOW - WEEK, queue, type="dead_letter")
    late = [
        await stored(lab, "archived", NOW - WEEK + 0, queue, type="dead_letter", retention=WEEK)
        for _ in range(150)
    ]
    loop = janitor(lab, prefix="p_")
    await loop.step(NOW)
    assert lab.state(letter, queue) is None
    assert {lab.state(one, queue) for one in late} == {None}
    assert lab.state(young, queue) == lab.state(own, queue) == "archived"
    assert {lab.state(one, queue) for one in ordinary} == {"archived"}
    assert constants.DEAD_LETTER_KEEP == WEEK
