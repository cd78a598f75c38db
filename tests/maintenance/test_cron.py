"""Periodic tasks: each tick once, with any number of schedulers, over restarts and outages."""

from __future__ import annotations

import asyncio
import calendar
import time
from collections.abc import Sequence
from typing import Any

import pytest

from qd.broker.connect import open_async_link
from qd.broker.endpoint import Endpoint
from qd.client.compose import Composer
from qd.client.declared import Declared, compose_tick, from_json
from qd.errors import CronError, InvalidName
from qd.handlers.options import NO_OPTIONS, TaskOptions
from qd.maintenance.counters import Counters
from qd.maintenance.cron import Cron
from qd.maintenance.entries import LATE, Entry
from qd.maintenance.publisher import Publisher
from qd.protocol import codec, keys
from qd.protocol.ops import cron as ops
from tests.maintenance.lab import COMPOSER, Lab, no_options
from tests.support.wait import aeventually

T0 = 1_800_000_000
"""A full hour, and a multiple of ten seconds since the epoch."""


def declared_as(**given: Any) -> Declared:
    return Declared(**{"name": "job", "spec": "@every 10s", "task_type": "demo", **given})


def entry(now: float = T0, *, composer: Composer = COMPOSER, **declared: Any) -> Entry:
    options = declared.pop("options", None)
    if options:
        declared["options"] = TaskOptions.of(**options)
    return Entry(
        declared_as(**{"options": TaskOptions(queue="q"), **declared}),
        composer,
        queue_prefix="",
        timezone="UTC",
        options_of=no_options,
        now=now,
    )


def cron(lab: Lab, *entries: Entry) -> Cron:
    return Cron(lab.link, entries, Counters())


def fired(lab: Lab, name: str = "job") -> list[int]:
    """Seconds after T0 of the ticks whose tasks are pending, in order of enqueueing."""
    prefix = f"cron:{name}:"
    return [
        calendar.timegm(time.strptime(one.removeprefix(prefix), "%Y-%m-%dT%H:%M:%SZ")) - T0
        for one in reversed(lab.ids("pending"))
    ]


async def begin(lab: Lab, at: float = T0, **declared: Any) -> None:
    """A scheduler has seen the entry at *at*."""
    await cron(lab, entry(at, **declared)).step(at)


# --- each tick once ---


async def test_a_tick_enqueues_its_task_once_however_many_schedulers_try(
    lab: Lab, endpoint: Endpoint
) -> None:
    links = [open_async_link(endpoint) for _ in range(3)]
    loops = [Cron(link, [entry()], Counters()) for link in links]
    for second in (0, 10, 10.001, 20, 30.5):
        await asyncio.gather(*(loop.step(T0 + second) for loop in loops))
    for link in links:
        await link.close()
    assert fired(lab) == [10, 20, 30]
    assert lab.raw.sismember(keys.QUEUES, "q")


async def test_a_scheduler_that_lags_behind_fires_no_tick_whose_task_has_come_and_gone(
    lab: Lab,
) -> None:
    lagging, prompt = cron(lab, entry()), cron(lab, entry())
    await lagging.step(T0)
    for second in (0, 10, 20):
        await prompt.step(T0 + second)
    lab.raw.delete(keys.pending("q"), *lab.raw.keys(keys.task_prefix("q") + "*"))
    await lagging.step(T0 + 10)
    assert fired(lab) == []


async def test_three_running_schedulers_fire_every_second_once_and_on_time(
    lab: Lab, endpoint: Endpoint
) -> None:
    links = [open_async_link(endpoint) for _ in range(3)]
    loops = [Cron(link, [entry(time.time(), spec="@every 1s")], Counters()) for link in links]
    for loop in loops:
        loop.start()
    await aeventually(lambda: len(lab.ids("pending")) >= 3)
    await loops[0].stop()
    await aeventually(lambda: len(lab.ids("pending")) >= 4)
    for loop in loops[1:]:
        await loop.stop()
    for link in links:
        await link.close()
    ticks = fired(lab)
    assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))
    late = [
        int(lab.field(task_id, "pending_since") or 0) / 1e9 - T0 - tick
        for tick, task_id in zip(ticks, reversed(lab.ids("pending")), strict=True)
    ]
    # Each of them may have come when the machine was busy, but not all.
    assert 0 <= min(late) <= 0.05


async def test_a_clock_that_is_set_back_fires_nothing_again(lab: Lab) -> None:
    loop = cron(lab, entry())
    for second in (0, 10, 20):
        await loop.step(T0 + second)
    await loop.step(T0 + 5)
    await cron(lab, entry(T0 + 5)).step(T0 + 10)
    await loop.step(T0 + 30)
    assert fired(lab) == [10, 20, 30]


async def test_the_sleep_ends_at_the_next_tick(lab: Lab) -> None:
    now = time.time()
    pause = await cron(lab, entry(now, spec="@every 2s")).step(now)
    assert 0 < pause <= 2.001
    assert abs((now + pause) % 2 - 0.001) < 0.05 or (now + pause) % 2 > 1.95


# --- missed ticks ---


async def test_a_tick_owed_by_a_scheduler_that_died_is_enqueued_by_the_next_one(lab: Lab) -> None:
    await begin(lab)
    await cron(lab, entry(T0 + 12)).step(T0 + 12)
    assert fired(lab) == [10]


@pytest.mark.parametrize(
    ("missed", "expected"),
    [("skip", [3600]), ("once", [3600]), ("all", [600, 1200, 1800, 2400, 3000, 3600])],
)
async def test_at_a_tick_after_an_outage_that_tick_counts_as_the_one(
    lab: Lab, missed: str, expected: list[int]
) -> None:
    await begin(lab, spec="@every 10m", missed=missed)
    await cron(lab, entry(T0 + 3601, spec="@every 10m", missed=missed)).step(T0 + 3601)
    assert fired(lab) == expected


@pytest.mark.parametrize(
    ("missed", "expected"),
    [("skip", []), ("once", [1200]), ("all", [600, 1200]), ("all(1)", [1200])],
)
async def test_missed_ticks_are_made_up_for_as_the_policy_says(
    lab: Lab, missed: str, expected: list[int]
) -> None:
    await begin(lab, spec="@every 10m", missed=missed)
    late = T0 + 1200 + LATE + 1
    loop = cron(lab, entry(late, spec="@every 10m", missed=missed))
    await loop.step(late)
    await loop.step(late + 1)
    assert fired(lab) == expected
    await loop.step(T0 + 1800)
    assert fired(lab) == [*expected, 1800]


async def test_of_a_year_of_missed_seconds_the_latest_hundred_are_made_up_for_quickly(
    lab: Lab,
) -> None:
    await begin(lab, spec="@every 1s", missed="all")
    now = T0 + 365 * 24 * 3600
    begun = time.monotonic()
    await cron(lab, entry(now, spec="@every 1s", missed="all")).step(now)
    assert time.monotonic() - begun < 10
    ticks = fired(lab)
    assert ticks == list(range(now - T0 - 99, now - T0 + 1))


async def test_what_was_due_before_an_entry_was_first_seen_is_not_missed(lab: Lab) -> None:
    loop = cron(lab, entry(T0 + 5, missed="all"))
    await loop.step(T0 + 5)
    assert fired(lab) == []
    await loop.step(T0 + 10)
    assert fired(lab) == [10]


async def test_ticks_during_an_outage_of_redis_are_treated_as_missed(lab: Lab) -> None:
    loop = cron(lab, entry(missed="once"))
    await loop.step(T0)
    await loop.step(T0 + 10)
    await loop.step(T0 + 95 + LATE)
    assert fired(lab) == [10, 100]


# --- the task of a tick ---


async def test_overlap_skip_lets_ticks_pass_until_the_last_task_has_ended(lab: Lab) -> None:
    loop = cron(lab, entry(overlap="skip"))
    await loop.step(T0)
    await loop.step(T0 + 10)
    (first,) = lab.ids("pending")
    await loop.step(T0 + 20)
    await lab.take(lease_until=T0)
    await loop.step(T0 + 30)
    assert lab.ids("pending") == []
    lab.raw.delete(keys.task("q", first), keys.active("q"), keys.lease("q"))
    await loop.step(T0 + 40)
    assert fired(lab) == [40]


async def test_the_options_of_an_entry_hold_for_its_tasks(lab: Lab) -> None:
    options = {"queue": "q", "max_retry": 2, "timeout": "5m", "retention": "1h", "unique": "1m"}
    loop = cron(lab, entry(options=options, payload={"a": 1}, task_type="report"))
    for second in (0, 10, 20):
        await loop.step(T0 + second)
    assert fired(lab) == [10]
    (task_id,) = lab.ids("pending")
    message = lab.message(task_id)
    assert (message.type, message.payload) == ("report", b'{"a":1}')
    terms = message.terms
    assert (terms.max_retry, terms.timeout, terms.retention) == (2, 300, 3600)
    assert lab.raw.get(terms.unique_key) == task_id.encode()
    assert lab.raw.ttl(terms.unique_key) in (59, 60)
    assert lab.field(task_id, "unique_key") == terms.unique_key.encode()


async def test_an_entry_with_a_group_or_a_delay_puts_its_tasks_there(lab: Lab) -> None:
    loop = cron(
        lab,
        entry(name="grouped", options={"queue": "q", "group": "g"}),
        entry(name="delayed", options={"queue": "q", "process_in": "5m"}),
    )
    await loop.step(T0)
    await loop.step(T0 + 10)
    assert lab.ids("pending") == []
    (delayed,) = lab.ids("scheduled")
    assert delayed.startswith("cron:delayed:")
    assert lab.raw.zscore(keys.scheduled("q"), delayed) == T0 + 310
    (grouped,) = lab.raw.zrange(keys.group("q", "g"), 0, -1)
    assert lab.state(grouped.decode()) == "aggregating"
    assert lab.raw.smembers(keys.groups("q")) == {b"g"}


async def test_a_given_task_id_that_is_in_use_lets_the_tick_pass(lab: Lab) -> None:
    loop = cron(lab, entry(options={"queue": "q", "task_id": "only"}))
    for second in (0, 10, 20):
        await loop.step(T0 + second)
    assert lab.ids("pending") == ["only"]


async def test_a_paused_entry_enqueues_nothing_and_makes_up_for_nothing(lab: Lab) -> None:
    loop = cron(lab, entry(missed="all"))
    await loop.step(T0)
    await lab.link.execute(ops.pause("q", "job", now=T0))
    assert (await lab.link.execute(ops.standing("q", "job"))).paused_since == T0
    await loop.step(T0 + 10)
    assert await lab.link.execute(ops.resume("q", "job"))
    assert (await lab.link.execute(ops.standing("q", "job"))).paused_since is None
    await loop.step(T0 + 20)
    assert fired(lab) == [20]


async def test_an_entry_in_trouble_holds_up_no_other(lab: Lab) -> None:
    broken = entry(name="broken", options={"queue": "b"})
    loop = cron(lab, broken, entry())
    await loop.step(T0)
    lab.raw.set(keys.pending("b"), "a string")
    assert await loop.step(T0 + 10) <= 2
    assert fired(lab) == [10]
    lab.raw.delete(keys.pending("b"))
    await loop.step(T0 + 12)
    assert lab.ids("pending", "b") == ["cron:broken:2027-01-15T08:00:10Z"]


def test_a_spec_or_a_name_that_cannot_be_used_is_refused_with_the_name_of_the_entry() -> None:
    with pytest.raises(CronError, match=r"schedule nightly: .*61 is above the maximum 59"):
        entry(name="nightly", spec="61 * * * *")
    with pytest.raises(InvalidName):
        entry(options={"queue": "a{b}"})


# --- what the tools see ---


def history(lab: Lab, one: Entry) -> list[tuple[str, int]]:
    blobs = lab.raw.zrange(keys.scheduler_history(one.id), 0, -1)
    return [(event.task_id, event.enqueued_ns) for event in map(codec.decode_event, blobs)]


async def test_a_firing_is_noted_in_the_history_by_the_scheduler_that_won(lab: Lab) -> None:
    one = entry()
    loops = [cron(lab, one), cron(lab, entry())]
    for second in (0, 10):
        await asyncio.gather(*(loop.step(T0 + second) for loop in loops))
    (task_id,) = lab.ids("pending")
    assert history(lab, one) == [(task_id, (T0 + 10) * 1_000_000_000)]


def published(lab: Lab, scheduler_id: str) -> list[Any]:
    blobs: Sequence[bytes] = lab.raw.lrange(keys.scheduler(scheduler_id), 0, -1)
    return [codec.decode_entry(one) for one in blobs]


async def test_entries_are_shown_at_once_with_their_times_and_options(lab: Lab) -> None:
    one = entry(T0, payload=b"{}", options={"queue": "q", "max_retry": 3, "timeout": "90s"})
    loop = Publisher(lab.link, "h:1:u", [one], heartbeat=10)
    await loop.step(T0)
    (shown,) = published(lab, "h:1:u")
    assert shown.id == one.id == ops.entry_id("", "job")
    assert (shown.spec, shown.task_type, shown.task_payload) == ("@every 10s", "demo", b"{}")
    assert shown.options == ("MaxRetry(3)", 'Queue("q")', "Timeout(1m30s)")
    assert (shown.next_ns, shown.prev_ns) == ((T0 + 10) * 10**9, None)
    assert lab.raw.ttl(keys.scheduler("h:1:u")) == 20
    assert lab.raw.zscore(keys.SCHEDULERS, keys.scheduler("h:1:u")) == T0 + 20

    ticking = cron(lab, one)
    await ticking.step(T0)
    await ticking.step(T0 + 10)
    assert await loop.step(T0 + 10) == 10
    (shown,) = published(lab, "h:1:u")
    assert (shown.next_ns, shown.prev_ns) == ((T0 + 20) * 10**9, (T0 + 10) * 10**9)


async def test_beside_it_stands_all_that_is_needed_to_make_its_task(lab: Lab) -> None:
    one = entry(T0, payload={"a": 1}, options={"queue": "q", "max_retry": 3}, missed="all(5)")
    loop = Publisher(lab.link, "h:1:u", [one], heartbeat=10)
    await loop.step(T0)
    (document,) = lab.raw.lrange(keys.scheduler_entries("h:1:u"), 0, -1)
    assert lab.raw.ttl(keys.scheduler_entries("h:1:u")) == 20
    whole = from_json(document)
    assert (whole.name, whole.timezone, whole.missed) == ("job", "UTC", "all(5)")
    assert compose_tick(whole, COMPOSER, T0, T0).new == one.compose(T0, T0).new


async def test_a_publisher_shows_what_it_is_told_and_nothing_once_there_is_nothing(
    lab: Lab,
) -> None:
    loop = Publisher(lab.link, "h:1:u", [entry()], heartbeat=10)
    loop.start()
    await aeventually(lambda: published(lab, "h:1:u"))
    loop.show([entry(name="one"), entry(name="two")])
    await aeventually(lambda: len(published(lab, "h:1:u")) == 2)
    loop.show([])
    await aeventually(lambda: not lab.raw.exists(keys.SCHEDULERS, keys.scheduler("h:1:u")))
    await loop.stop()


async def test_after_a_restart_the_last_firing_and_the_history_are_still_known(lab: Lab) -> None:
    before = entry()
    first = cron(lab, before)
    await first.step(T0)
    await first.step(T0 + 10)
    loop = Publisher(lab.link, "h:1:u", [before], heartbeat=10)
    loop.start()
    await aeventually(lambda: published(lab, "h:1:u"))
    await loop.stop()
    assert not lab.raw.exists(keys.scheduler("h:1:u"), keys.SCHEDULERS)

    after = entry(T0 + 11)
    await cron(lab, after).step(T0 + 11)
    assert after.id == before.id
    assert after.published().prev_ns == (T0 + 10) * 10**9
    assert len(history(lab, after)) == 1


async def test_the_queue_is_shown_with_its_prefix(lab: Lab) -> None:
    prefixed = Composer(NO_OPTIONS, queue_prefix="prod_", payload_limit=1000)
    one = entry(composer=prefixed, options={"queue": "low"})
    assert one.published().options == ('Queue("prod_low")',)
    loop = cron(lab, one)
    await loop.step(T0)
    await loop.step(T0 + 10)
    assert len(lab.ids("pending", "prod_low")) == 1
