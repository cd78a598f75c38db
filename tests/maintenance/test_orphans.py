"""Handing back what a dead worker process held."""

from __future__ import annotations

import asyncio
import time

import pytest

from qd import clock
from qd.broker.connect import open_async_link
from qd.broker.endpoint import parse_addresses
from qd.maintenance.orphans import hand_back
from qd.protocol import constants, keys
from tests.maintenance.lab import Lab
from tests.support.servers import RedisServer

QUEUES = ["q", "other"]


async def test_all_a_dead_worker_held_goes_back_and_only_running_tasks_count_the_death(
    lab: Lab,
) -> None:
    running, waiting = await lab.pending(), await lab.pending()
    elsewhere = await lab.pending("other")
    await lab.take(owner="dead", lease_until=time.time() + 15)
    await lab.take("other", owner="dead", lease_until=time.time() + 15)
    theirs = await lab.pending()
    await lab.take(owner="alive", lease_until=time.time() + 15)

    assert await hand_back(lab.link, QUEUES, "dead", "signal 9", [keys.task("q", running)]) == (
        3,
        0,
    )

    assert lab.ids("pending") == [waiting, running]
    assert lab.state(elsewhere, "other") == "pending"
    assert lab.state(theirs) == "active"
    assert lab.field(running, "qd_deaths") == b"1"
    assert lab.field(running, "qd_cause") == b"signal 9"
    assert lab.field(waiting, "qd_deaths") is None
    assert await hand_back(lab.link, QUEUES, "dead", "signal 9", [keys.task("q", running)]) == (
        0,
        0,
    )


async def test_a_host_whose_clock_is_slow_hands_back_as_well(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = time.time()
    task_id = await lab.pending()
    await lab.take(owner="dead", lease_until=right + 15)
    monkeypatch.setattr(clock, "now", lambda: right - 3600)
    monkeypatch.setattr(clock, "now_ns", lambda: int((right - 3600) * 10**9))
    assert await hand_back(lab.link, QUEUES, "dead", "signal 9", []) == (1, 0)
    assert lab.state(task_id) == "pending"


async def test_a_task_that_kills_its_worker_twice_is_archived(lab: Lab) -> None:
    task_id = await lab.pending()
    for number in range(constants.POISON_DEATHS):
        await lab.take(owner=f"w{number}", lease_until=time.time() + 15)
        outcome = await hand_back(
            lab.link, QUEUES, f"w{number}", "signal 11", [keys.task("q", task_id)]
        )
    assert outcome == (0, 1)
    assert lab.state(task_id) == "archived"
    assert lab.message(task_id).terms.error == "worker died: signal 11"


async def test_a_task_a_go_server_has_taken_over_is_not_put_back(lab: Lab) -> None:
    """asynq knows no owner, so the field of the worker before it is still there."""
    task_id = await lab.pending()
    await lab.take(owner="frozen", lease_until=time.time() + 15)
    lab.raw.zadd(keys.lease("q"), {task_id: int(time.time()) + 30})
    assert await hand_back(lab.link, QUEUES, "frozen", "signal 9", [keys.task("q", task_id)]) == (
        0,
        0,
    )
    assert lab.state(task_id) == "active"


async def test_while_redis_is_away_the_order_is_kept(lab: Lab, server: RedisServer) -> None:
    task_id = await lab.pending()
    await lab.take(owner="dead", lease_until=time.time() + 15)
    link = open_async_link(parse_addresses([server.url], call_timeout=0.1))
    server.pause()
    work = asyncio.create_task(
        hand_back(link, ["q"], "dead", "signal 9", [keys.task("q", task_id)])
    )
    done, _ = await asyncio.wait([work], timeout=0.5)
    server.resume()
    assert not done
    # What reached the server while nobody waited for its answer has been carried out.
    back, poison = await work
    await link.close()
    assert back <= 1
    assert poison == 0
    assert lab.state(task_id) == "pending"
    assert lab.field(task_id, "qd_deaths") == b"1"
