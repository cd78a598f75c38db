"""The aggregator: the tasks of a group become one task, once, or stay as they are."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any

import pytest

from qd.config.model import GroupSettings
from qd.handlers.options import TaskOptions
from qd.handlers.task import Task
from qd.maintenance.aggregator import Aggregator
from qd.maintenance.counters import Counters
from qd.maintenance.recoverer import Recoverer
from qd.protocol import constants, keys
from tests.maintenance.lab import COMPOSER, Lab, no_options, rules
from tests.support.servers import RedisServer
from tests.support.wait import aeventually

NOW = float(int(time.time()))


def join(group: str, tasks: list[Task]) -> tuple[str, bytes]:
    return "joined", group.encode() + b":" + b",".join(task.payload for task in tasks)


def aggregator(lab: Lab, merge: Any = join, pattern: str = "*", **settings: Any) -> Aggregator:
    return Aggregator(
        lab.link,
        ["q"],
        [(pattern, merge)],
        settings=GroupSettings(**settings),
        composer=COMPOSER,
        queue_prefix="",
        options_of=no_options,
        counts=Counters(),
    )


async def run(loop: Aggregator, now: float) -> None:
    await loop.step(now)
    await loop.idle()


async def test_a_group_that_has_been_quiet_for_its_grace_becomes_one_task(lab: Lab) -> None:
    ids = [await lab.grouped("g", NOW + n, payload=b"%d" % n) for n in range(3)]
    loop = aggregator(lab)
    await run(loop, NOW + 61)
    assert [lab.state(one) for one in ids] == ["aggregating"] * 3
    await run(loop, NOW + 62)
    assert [lab.state(one) for one in ids] == [None] * 3
    (made,) = lab.ids("pending")
    assert lab.message(made).type == "joined"
    assert lab.message(made).payload == b"g:0,1,2"
    assert lab.message(made).terms.queue == "q"
    left = {key.decode() for key in lab.raw.keys("*")}
    assert left == {keys.pending("q"), keys.task("q", made)}


async def test_more_groups_than_are_merged_at_a_time_do_not_wait_for_each_other_s_interval(
    lab: Lab,
) -> None:
    for n in range(12):
        await lab.grouped(f"g{n}", NOW)
    loop = aggregator(lab, max_size=1, grace_period=60.0)
    loop.start()
    # Three at a time, and seven seconds to the next look if nothing calls for it.
    await aeventually(lambda: len(lab.ids("pending")) == 12, within=14)
    await loop.stop()


async def test_a_full_group_and_one_that_waited_long_enough_do_not_wait_for_the_grace(
    lab: Lab,
) -> None:
    full = [await lab.grouped("full", NOW) for _ in range(5)]
    old = [await lab.grouped("old", NOW - 30), await lab.grouped("old", NOW)]
    await run(aggregator(lab, max_size=2, max_delay=30.0), NOW)
    assert len(lab.ids("pending")) == 3
    assert sum(lab.state(one) is None for one in full) == 4
    assert {lab.state(one) for one in old} == {None}


async def test_a_group_without_a_function_for_it_is_left_to_other_schedulers(lab: Lab) -> None:
    task_id = await lab.grouped("other", NOW - 100)
    await run(aggregator(lab, pattern="mail:*"), NOW)
    assert lab.raw.zscore(keys.group("q", "other"), task_id) is not None


async def test_the_new_task_has_the_options_it_was_given_in_the_queue_of_its_group(
    lab: Lab,
) -> None:
    async def later(group: str, tasks: list[Task]) -> tuple[str, Any, dict[str, Any]]:
        return (
            "later",
            {"n": len(tasks)},
            {"process_in": "5m", "unique": "1h", "queue": "elsewhere"},
        )

    await lab.grouped("g", NOW - 100)
    await run(aggregator(lab, later), NOW)
    (made,) = lab.ids("scheduled")
    assert lab.message(made).payload == b'{"n":1}'
    lock = lab.message(made).terms.unique_key
    assert lab.raw.get(lock) == made.encode()


async def test_a_new_task_with_a_group_joins_that_group(lab: Lab) -> None:
    def again(group: str, tasks: list[Task]) -> tuple[str, None, TaskOptions]:
        return "again", None, TaskOptions.of(group="second")

    await lab.grouped("first", NOW - 100)
    await run(aggregator(lab, again), NOW)
    (made,) = lab.raw.zrange(keys.group("q", "second"), 0, -1)
    assert lab.state(made.decode()) == "aggregating"
    assert lab.raw.smembers(keys.groups("q")) == {b"second"}


async def test_a_function_that_fails_costs_no_task_and_is_told_of_once(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(group: str, tasks: list[Task]) -> Any:
        raise ValueError("no such template")

    task_id = await lab.grouped("g", NOW - 100)
    loop = aggregator(lab, broken)
    back = Recoverer(lab.link, ["q"], rules(), interval=2.0, counts=Counters())
    for attempt in range(2):
        now = NOW + 200 * attempt
        await run(loop, now)
        assert lab.raw.zcard(keys.group("q", "g")) == 0
        await back.step(now + constants.AGGREGATION_TIMEOUT)
        assert lab.raw.zscore(keys.group("q", "g"), task_id) == NOW - 100
    told = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert len(told) == 1
    assert "no such template" in str(told[0].exc_info)


@pytest.mark.parametrize("made", [None, ("only a type",), "text"])
async def test_what_is_no_task_is_refused_and_costs_none(lab: Lab, made: Any) -> None:
    task_id = await lab.grouped("g", NOW - 100)
    await run(aggregator(lab, lambda group, tasks: made), NOW)
    assert lab.state(task_id) == "aggregating"
    assert lab.ids("pending") == []


async def test_a_scheduler_that_dies_between_staging_and_enqueueing_loses_and_doubles_nothing(
    lab: Lab,
) -> None:
    begun = asyncio.Event()

    async def never(group: str, tasks: list[Task]) -> Any:
        begun.set()
        await asyncio.Event().wait()

    ids = [await lab.grouped("g", NOW - 100) for _ in range(3)]
    dying = aggregator(lab, never)
    await dying.step(NOW)
    await begun.wait()
    for work in dying._in_work:
        work.cancel()
    assert {lab.state(one) for one in ids} == {"aggregating"}

    back = Recoverer(lab.link, ["q"], rules(), interval=2.0, counts=Counters())
    await back.step(NOW + constants.AGGREGATION_TIMEOUT)
    await run(aggregator(lab), NOW + constants.AGGREGATION_TIMEOUT)
    assert {lab.state(one) for one in ids} == {None}
    assert len(lab.ids("pending")) == 1


async def test_a_set_that_was_put_back_meanwhile_is_not_enqueued_by_the_slow_one(lab: Lab) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(group: str, tasks: list[Task]) -> tuple[str, bytes]:
        begun.set()
        await go.wait()
        return "late", b""

    task_id = await lab.grouped("g", NOW - 100)
    loop = aggregator(lab, slow)
    await loop.step(NOW)
    await begun.wait()
    back = Recoverer(lab.link, ["q"], rules(), interval=2.0, counts=Counters())
    await back.step(NOW + constants.AGGREGATION_TIMEOUT)
    go.set()
    await loop.idle()
    assert lab.state(task_id) == "aggregating"
    assert lab.ids("pending") == []


async def test_two_schedulers_at_once_make_one_task(lab: Lab) -> None:
    ids = [await lab.grouped("g", NOW - 100) for _ in range(300)]
    loops = [aggregator(lab), aggregator(lab)]
    await asyncio.gather(*(run(one, NOW) for one in loops))
    (made,) = lab.ids("pending")
    assert lab.message(made).payload.count(b"{}") == 300
    assert not lab.raw.exists(*(keys.task("q", one) for one in ids))


async def test_a_member_nobody_can_read_is_archived_and_the_others_are_merged(lab: Lab) -> None:
    bad, gone, good = [await lab.grouped("g", NOW - 100) for _ in range(3)]
    lab.raw.hset(keys.task("q", bad), "msg", b"\xff\xff")
    lab.raw.delete(keys.task("q", gone))
    await run(aggregator(lab), NOW)
    assert lab.state(bad) == "archived"
    assert lab.field(bad, "msg") == b"\xff\xff"
    assert lab.state(good) is None
    assert len(lab.ids("pending")) == 1


async def test_a_plain_function_does_not_hold_up_the_loop(lab: Lab) -> None:
    release = threading.Event()

    def blocking(group: str, tasks: list[Task]) -> tuple[str, bytes]:
        assert release.wait(5)
        return "done", b""

    await lab.grouped("g", NOW - 100)
    loop = aggregator(lab, blocking)
    await loop.step(NOW)
    release.set()
    await loop.idle()
    assert len(lab.ids("pending")) == 1


async def test_without_functions_the_loop_does_not_run(lab: Lab) -> None:
    loop = Aggregator(
        lab.link, ["q"], [], settings=GroupSettings(), composer=COMPOSER, queue_prefix="",
        options_of=no_options, counts=Counters(),
    )  # fmt: skip
    loop.start()
    assert "aggregator" not in {task.get_name() for task in asyncio.all_tasks()}
    await loop.stop()


async def test_groups_of_a_full_server_are_merged_which_makes_room(
    lab: Lab, server: RedisServer
) -> None:
    ids = [await lab.grouped("g", NOW) for _ in range(3)]
    with server.configured(maxmemory="1"):
        await run(aggregator(lab), NOW + 61)
    assert [lab.state(one) for one in ids] == [None] * 3
    (made,) = lab.ids("pending")
    assert lab.message(made).payload == b"g:{},{},{}"
