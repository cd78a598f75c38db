"""The scheduler process from inside: all loops together, over an outage, and their end."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from qd.broker.endpoint import Endpoint
from qd.config.model import GroupSettings, SchedulerSettings, Settings
from qd.maintenance.process import Scheduler
from qd.protocol import keys
from tests.maintenance.lab import COMPOSER, Lab, no_options, rules
from tests.maintenance.test_aggregator import join
from tests.maintenance.test_cron import declared_as
from tests.support.servers import RedisServer
from tests.support.wait import aeventually

FAST = SchedulerSettings(
    recover_interval=0.1, janitor_interval=0.1, group=GroupSettings(grace_period=1.0)
)


def scheduler(endpoint: Endpoint, **more: Any) -> Scheduler:
    return Scheduler(
        Settings(scheduler=FAST),
        endpoint,
        queues=["q"],
        composer=COMPOSER,
        rules=rules(),
        declared=more.pop("declared", ()),
        aggregators=[("*", join)],
        options_of=no_options,
    )


async def test_all_loops_do_their_work_together_and_end_without_a_trace(
    endpoint: Endpoint, lab: Lab
) -> None:
    now = time.time()
    expired = await lab.pending()
    await lab.take(lease_until=now - 1)
    due = await lab.scheduled(now)
    grouped = await lab.grouped("g", now - 5)
    over = lab.new()
    lab.raw.hset(keys.task("q", over.id), mapping={"msg": over.message, "state": "completed"})
    lab.raw.zadd(keys.completed("q"), {over.id: now - 1})
    declared = [
        declared_as(name="on", spec="@every 1s", task_type="tick"),
        declared_as(name="off", spec="@every 1s", enabled=False),
    ]
    running = scheduler(endpoint, declared=declared)
    await running.start()
    await aeventually(lambda: running.counts.ticks and running.counts.aggregated)
    await aeventually(lambda: lab.state(due) == "pending")
    # Right after a start, leases are not judged yet.
    await aeventually(lambda: lab.state(expired) == "pending", within=20)
    await aeventually(lambda: lab.state(over.id) is lab.state(grouped) is None)
    assert lab.raw.llen(keys.scheduler(running.id)) == 1
    await running.stop()
    assert running.counts.forwarded == running.counts.put_back == running.counts.deleted == 1
    assert not lab.raw.exists(keys.SCHEDULERS, keys.scheduler(running.id))
    assert [one for one in asyncio.all_tasks() if one.get_name() in ("forwarder", "cron")] == []
    assert await aeventually(lambda: connections(lab) <= 2)


async def test_after_redis_was_away_all_goes_on_by_itself(
    endpoint: Endpoint, server: RedisServer, lab: Lab
) -> None:
    running = scheduler(endpoint, declared=[declared_as(spec="@every 1s", task_type="tick")])
    await running.start()
    await aeventually(lambda: running.counts.ticks)
    server.restart()
    ticks = running.counts.ticks
    due = await lab.scheduled(time.time())
    await aeventually(
        lambda: lab.field(due, "state") == b"pending" and running.counts.ticks > ticks
    )
    await running.stop()


async def test_stopping_twice_or_before_the_start_is_harmless(endpoint: Endpoint) -> None:
    never = scheduler(endpoint)
    await never.stop()
    running = scheduler(endpoint)
    await running.start()
    await running.stop()
    await running.stop()


def connections(lab: Lab) -> int:
    return len(lab.raw.client_list())
