"""Periodic tasks added at run time: taken over at once, and no tick is lost or comes twice."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from qd.broker.endpoint import Endpoint, parse_addresses
from qd.client.declared import Declared
from qd.handlers.options import TaskOptions
from qd.maintenance.counters import Counters
from qd.maintenance.cron import Cron
from qd.maintenance.entries import Entry
from qd.maintenance.stored import Stored
from qd.protocol import keys
from qd.protocol.ops import cron as ops
from tests.maintenance.lab import COMPOSER, Lab, no_options
from tests.maintenance.test_cron import T0, declared_as, entry, fired
from tests.support.server_groups import ClusterServers
from tests.support.servers import RedisServer
from tests.support.wait import aeventually


def make(declared: Declared) -> Entry:
    return Entry(declared, COMPOSER, queue_prefix="", timezone="UTC", options_of=no_options, now=T0)


class Schedulers:
    """Cron loops that know what is stored, closed with the test."""

    def __init__(self, lab: Lab, endpoint: Endpoint) -> None:
        self.lab = lab
        self.endpoint = endpoint
        self.shown: list[list[str]] = []
        self._loops: list[Cron] = []

    def one(self, *own: Entry) -> Cron:
        def on_entries(entries: list[Entry]) -> None:
            self.shown.append([one.name for one in entries])

        stored = Stored(self.endpoint, "", make)
        loop = Cron(self.lab.link, own, Counters(), stored=stored, on_entries=on_entries)
        self._loops.append(loop)
        return loop

    async def add(self, since: float = T0, **declared: Any) -> None:
        one = declared_as(**{"options": TaskOptions(queue="q"), "payload": b"{}", **declared})
        document = replace(one, since=int(since)).to_json()
        await self.lab.link.execute(ops.store("", one.name, document))

    async def remove(self, name: str = "job") -> bool:
        return await self.lab.link.execute(ops.unstore("", name))

    async def stop(self) -> None:
        for loop in self._loops:
            await loop.stop()


@pytest.fixture
async def schedulers(lab: Lab, endpoint: Endpoint) -> AsyncIterator[Schedulers]:
    made = Schedulers(lab, endpoint)
    yield made
    await made.stop()


async def heard(loop: Cron, now: float, names: list[str], schedulers: Schedulers) -> None:
    """Step at *now* until the loop knows these entries: the news comes in its own time."""

    async def known() -> bool:
        await loop.step(now)
        return sorted(schedulers.shown[-1] if schedulers.shown else []) == names

    await aeventually(known)


async def test_an_entry_that_is_added_fires_from_its_next_tick_on(schedulers: Schedulers) -> None:
    loop = schedulers.one()
    await loop.step(T0)
    await schedulers.add(since=T0 + 10)
    await heard(loop, T0 + 10.5, ["job"], schedulers)
    assert fired(schedulers.lab) == []
    await loop.step(T0 + 20)
    assert fired(schedulers.lab) == [20]


async def test_a_running_scheduler_hears_of_an_entry_and_fires_it_within_its_period(
    schedulers: Schedulers,
) -> None:
    loop = schedulers.one()
    loop.start()
    await aeventually(lambda: int(schedulers.lab.raw.info("stats")["tracking_total_keys"]) == 1)
    begun = time.time()
    await schedulers.add(since=begun, spec="@every 1s")
    await aeventually(lambda: schedulers.lab.ids("pending"))
    (first,) = schedulers.lab.ids("pending")
    since = int(schedulers.lab.field(first, "pending_since") or 0) / 1e9
    assert since - begun < 2
    await schedulers.remove()
    await aeventually(lambda: schedulers.shown[-1] == [])


async def test_a_changed_entry_goes_on_where_it_stands(schedulers: Schedulers) -> None:
    loop = schedulers.one()
    await schedulers.add()
    for second in (0, 10, 20):
        await loop.step(T0 + second)
    await schedulers.add(spec="@every 15s", payload=b'{"new":1}')
    await aeventually(lambda: len(schedulers.shown) == 1)

    async def changed() -> bool:
        await loop.step(T0 + 20)
        return len(schedulers.shown) == 2

    await aeventually(changed)
    await loop.step(T0 + 30)
    assert fired(schedulers.lab) == [10, 20, 30]
    assert schedulers.lab.message(schedulers.lab.ids("pending")[0]).payload == b'{"new":1}'


async def test_a_tick_that_is_due_when_its_entry_changes_is_neither_lost_nor_doubled(
    schedulers: Schedulers,
) -> None:
    """One scheduler has heard of the change at the tick, another fires by what it knew before."""
    lagging, prompt = schedulers.one(), schedulers.one()
    await schedulers.add()
    for loop in (lagging, prompt):
        await loop.step(T0)
    known = len(schedulers.shown)
    await schedulers.add(payload=b'{"new":1}')

    async def changed() -> bool:
        await prompt.step(T0 + 10)
        return len(schedulers.shown) > known

    await aeventually(changed)
    await lagging.step(T0 + 10)
    await prompt.step(T0 + 10.01)
    assert fired(schedulers.lab) == [10]


async def test_an_entry_that_is_added_again_makes_up_for_nothing_in_between(
    schedulers: Schedulers,
) -> None:
    loop = schedulers.one()
    await schedulers.add(missed="all")
    for second in (0, 10):
        await loop.step(T0 + second)
    assert await schedulers.remove()
    assert not await schedulers.remove()
    await heard(loop, T0 + 11, [], schedulers)
    await loop.step(T0 + 20)
    await schedulers.add(since=T0 + 35, missed="all")
    await heard(loop, T0 + 36, ["job"], schedulers)
    await loop.step(T0 + 40)
    assert fired(schedulers.lab) == [10, 40]


async def test_ticks_before_any_scheduler_saw_the_entry_are_missed_from_its_adding_on(
    schedulers: Schedulers,
) -> None:
    await schedulers.add(since=T0 + 15, missed="all")
    await schedulers.one().step(T0 + 60)
    assert fired(schedulers.lab) == [20, 30, 40, 50, 60]


async def test_what_is_stored_goes_before_what_is_declared_and_gives_way_again(
    schedulers: Schedulers,
) -> None:
    loop = schedulers.one(entry(task_type="declared"))
    await loop.step(T0)
    await schedulers.add(task_type="stored")
    await heard(loop, T0, ["job"], schedulers)
    await loop.step(T0 + 10)
    await schedulers.remove()

    async def declared_again() -> bool:
        await loop.step(T0 + 11)
        return len(schedulers.shown) == 2

    await aeventually(declared_again)
    await loop.step(T0 + 20)
    lab = schedulers.lab
    assert fired(lab) == [10, 20]
    assert [lab.message(one).type for one in lab.ids("pending")] == ["declared", "stored"]


async def test_what_cannot_be_read_or_used_is_left_out_and_holds_up_nothing(
    schedulers: Schedulers, lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    lab.raw.hset(keys.schedule(""), mapping={"no json": b"{", "newer": b'{"name": "newer"}'})
    await schedulers.add(name="bad spec", spec="61 * * * *")
    await schedulers.add()
    loop = schedulers.one()
    await loop.step(T0)
    await loop.step(T0 + 10)
    assert fired(lab) == [10]
    for name in ("no json", "newer", "bad spec"):
        assert f"{name}, added at run time, is left out" in caplog.text


async def test_a_key_of_another_type_holds_up_no_declared_entry(
    schedulers: Schedulers, lab: Lab
) -> None:
    lab.raw.set(keys.schedule(""), "a string")
    loop = schedulers.one(entry())
    await loop.step(T0)
    await loop.step(T0 + 10)
    assert fired(lab) == [10]


async def test_entries_of_another_prefix_are_none_of_ours(schedulers: Schedulers, lab: Lab) -> None:
    document = declared_as(payload=b"{}", since=T0).to_json()
    await lab.link.execute(ops.store("prod_", "job", document))
    await schedulers.one().step(T0)
    assert schedulers.shown == []


async def test_an_idle_scheduler_without_entries_sends_nothing(
    schedulers: Schedulers, lab: Lab
) -> None:
    loop = schedulers.one()
    assert await loop.step(time.time()) > 4
    lab.raw.config_resetstat()
    await loop.step(time.time())
    assert set(lab.calls()) <= {"config|resetstat", "info"}


async def test_without_tracking_changes_are_found_within_a_second(
    server: RedisServer, lab: Lab, schedulers: Schedulers
) -> None:
    server.add_user("poor", "pw", "~*", "+@all", "-client|tracking")
    schedulers.endpoint = parse_addresses([server.url], username="poor", password="pw")
    loop = schedulers.one()
    assert await loop.step(T0) <= 1
    await schedulers.add()
    await loop.step(T0 + 1)
    assert schedulers.shown == [["job"]]


async def test_on_a_cluster_entries_are_found_too(cluster: ClusterServers) -> None:
    from qd.broker.connect import open_async_link

    endpoint = parse_addresses(cluster.addrs)
    link = open_async_link(endpoint)
    with cluster.client() as raw:
        schedulers = Schedulers(Lab(link, raw), endpoint)
        await schedulers.add()
        loop = schedulers.one()
        await loop.step(T0)
        await loop.step(T0 + 10)
        assert fired(schedulers.lab) == [10]
        await schedulers.stop()
    await link.close()
