"""The same operations through the links of a real cluster, for queues on different nodes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import pytest

from qd.broker.async_link import AsyncLink
from qd.broker.connect import open_async_link, open_link
from qd.broker.endpoint import Endpoint, parse_addresses
from qd.broker.link import ClusterLink, Link
from qd.client.builder import TaskBuilder
from qd.client.compose import Composer
from qd.client.continuing import settle
from qd.client.flow import gather
from qd.client.starting import begin, compose
from qd.client.steps import carry_out, carry_out_now
from qd.errors import BrokerRefused, BrokerUnavailable
from qd.handlers.options import NO_OPTIONS
from qd.protocol import keys
from qd.protocol.flow import Place
from qd.protocol.message import ServerInfo
from qd.protocol.op import command
from qd.protocol.ops import endings, flows, locks, presence, tasks, upkeep
from qd.protocol.ops.endings import Ending, Fate
from qd.protocol.ops.flows import FlowState
from qd.protocol.state import TaskState
from tests.support.builders import DAY, NOW, NOW_NS, OWNER, UNTIL, Queue, held, message, new
from tests.support.procs import open_files_of
from tests.support.server_groups import ClusterServers
from tests.support.wait import aeventually

QUEUES = ("alpha", "beta", "gamma", "delta")


@pytest.fixture
def endpoint(cluster: ClusterServers) -> Endpoint:
    return parse_addresses(cluster.addrs, call_timeout=1.0)


@pytest.fixture
def link(endpoint: Endpoint) -> Iterator[Link]:
    link = open_link(endpoint)
    assert isinstance(link, ClusterLink)
    yield link
    link.close()


@pytest.fixture
async def async_link(endpoint: Endpoint) -> AsyncIterator[AsyncLink]:
    link = open_async_link(endpoint)
    yield link
    await link.close()


def test_the_queues_of_these_tests_are_on_all_nodes(cluster: ClusterServers) -> None:
    with cluster.client() as client:
        slots = [client.cluster_keyslot(keys.pending(name)) for name in QUEUES]
    assert {slot // 5461 for slot in slots} == {0, 1, 2}


@pytest.mark.parametrize("name", QUEUES)
def test_a_queue_is_filled_taken_from_and_emptied_in_every_way(
    link: Link, cluster: ClusterServers, name: str
) -> None:
    queue = Queue(link, name)
    link.execute(tasks.announce([name]))
    assert queue.enqueue(*(new(f"t{n}", name, unique=f"u{n}") for n in range(7))) == [None] * 7
    taken = queue.take(7)
    assert taken is not None
    assert [one.id for one in taken] == [f"t{n}" for n in range(7)]
    assert queue.take(7) == taken
    one, two, three, four, five = held(*(f"t{n}" for n in range(5)))
    assert link.execute(
        endings.extend(name, OWNER, [one], lease_until=UNTIL)
    ) == [Fate.OK]  # fmt: skip
    assert link.execute(endings.write_result(name, OWNER, *held("t0"), b"r")) is Fate.OK
    lock = keys.unique_prefix(name) + "email:send:u0"
    assert queue.done([Ending(one, unique_key=lock)]) == [Fate.OK]
    stay = Ending(two, message=message("t1", name), at=NOW + 60)
    assert link.execute(endings.complete(name, OWNER, [stay], day=DAY, now=NOW)) == [Fate.OK]
    again = Ending(three, message=message("t2", name), at=NOW - 1)
    assert link.execute(endings.retry(name, OWNER, [again], day=DAY, now=NOW)) == [Fate.OK]
    dead = Ending(four, message=message("t3", name))
    assert link.execute(endings.archive(name, OWNER, [dead], day=DAY, now=NOW)) == [Fate.OK]
    assert link.execute(endings.requeue(name, OWNER, [five], now_ns=NOW_NS)) == [Fate.OK]
    assert link.execute(
        upkeep.hand_back(
            name, OWNER, running=[keys.task(name, "t5")], cause="killed", day=DAY, now_ns=NOW_NS
        )
    ) == (["t6", "t5"], [])
    assert link.execute(upkeep.forward(name, TaskState.RETRY, now_ns=NOW_NS, limit=9)).moved == 1
    assert link.execute(tasks.dead_letter(name, "d", message("d", name), now=NOW)) is True
    link.execute(tasks.schedule(name, [new("s", name, process_at=NOW + 9)]))
    assert link.execute(upkeep.next_due(name, TaskState.SCHEDULED)) == NOW + 9
    assert link.execute(tasks.add_to_group(name, [new("g", name, group="g1")], now=NOW)) == [None]
    assert link.execute(tasks.arm(name)) == 4
    with cluster.client() as client:
        assert client.exists(lock) == 0
        assert client.smembers(keys.QUEUES) == {name.encode()}
        assert client.zcard(keys.archived(name)) == 2


def test_one_call_reaches_queues_on_several_nodes(link: Link) -> None:
    ops = [tasks.enqueue(name, [new("t", name)], now_ns=NOW_NS) for name in QUEUES]
    assert link.execute_many(ops) == [[None]] * 4
    assert link.execute_many([tasks.arm(name) for name in QUEUES]) == [1] * 4


def test_what_fails_on_one_node_is_done_on_the_others(link: Link, cluster: ClusterServers) -> None:
    with cluster.client() as client:
        client.set(keys.pending("beta"), "x")
    with pytest.raises(BrokerRefused):
        link.execute_many([tasks.enqueue(name, [new("t", name)], now_ns=NOW_NS) for name in QUEUES])
    assert [link.execute(tasks.arm(name)) for name in ("alpha", "gamma", "delta")] == [1] * 3


def test_what_belongs_to_no_queue_works_too(link: Link) -> None:
    info = ServerInfo("h", 1, "id", 1, (("alpha", 1),), False, "active", NOW_NS, 0)
    link.execute_many(presence.write_server(info, [], now=NOW))
    link.execute_many(presence.clear_server("h", 1, "id"))
    assert link.execute(locks.acquire("a", "me", ttl_ms=5000)) is True
    assert link.execute(locks.release("a", "me")) is True
    assert link.execute(presence.publish_cancel("t1")) == 0


async def test_a_flow_goes_over_queues_on_all_nodes(
    link: Link, async_link: AsyncLink, cluster: ClusterServers
) -> None:
    """Neither its links nor their flow need lie in one slot."""
    for n in range(4):
        flow = f"f{n}"
        made = TaskBuilder(None, "work")  # type: ignore[arg-type]
        first, *others = [made.queue(name) for name in QUEUES]
        composer = Composer(NO_OPTIONS, queue_prefix="", payload_limit=1000)
        new = compose(
            first >> gather(others),
            composer,
            flow_id=flow,
            options_of=lambda _: NO_OPTIONS,
            headers={},
        )
        if n % 2:
            carry_out_now(link, begin(new, None))
        else:
            await carry_out(async_link, begin(new, None))
        for number, name in enumerate(QUEUES, 1):
            task_id = Place(flow, number).task_id
            taken = Queue(link, name).take(nonce=flow)
            assert [one.id for one in taken or ()] == [task_id]
            ending = Ending(*held(task_id), message=message(task_id, name), at=NOW + 60)
            step = endings.complete(name, OWNER, [ending], day=DAY, now=NOW)
            assert link.execute(flows.noting_ends(step, name, now=1.0)) == [Fate.OK]
            ids = link.execute(flows.ended(name, until=2.0, limit=9))
            assert await settle(async_link, "", name, ids) == 1
        shown = link.execute(flows.show(flow))
        assert shown is not None
        assert shown.state is FlowState.DONE
    with cluster.client() as client:
        slots = {client.cluster_keyslot(keys.flow(f"f{n}")) // 5461 for n in range(4)}
        assert len(slots) > 1
        assert not client.exists(keys.flows(""))


async def test_a_new_link_asks_the_right_node_from_the_first_call_on(
    cluster: ClusterServers, async_link: AsyncLink
) -> None:
    """Sent elsewhere, calls are answered by MOVED, and the library starts all over again."""
    for node in cluster.nodes:
        node.command("CONFIG", "RESETSTAT")
    await asyncio.gather(
        *(async_link.execute(command("LLEN", [keys.pending(name)], [], int)) for name in QUEUES)
    )
    for node in cluster.nodes:
        assert b"errorstat_MOVED" not in node.command("INFO", "errorstats")


async def test_many_coroutines_use_all_nodes_at_once(endpoint: Endpoint, link: Link) -> None:
    async_link = open_async_link(endpoint)
    ops = [tasks.enqueue(name, [new("t", name)], now_ns=NOW_NS) for name in QUEUES]
    assert await async_link.execute_many(ops) == [[None]] * 4
    takes = [
        tasks.dequeue(name, count=1, owner=OWNER, nonce="n", lease_until=UNTIL) for name in QUEUES
    ]
    taken = await asyncio.gather(*(async_link.execute(one) for one in takes))
    assert [[one.id for one in part or ()] for part in taken] == [["t"]] * 4
    dones = [
        endings.done(name, OWNER, [Ending(*held("t"))], day=DAY, now=NOW) for name in QUEUES
    ]  # fmt: skip
    assert await async_link.execute_each(dones) == [[Fate.OK]] * 4
    assert await async_link.execute_each(dones) == [[Fate.GONE]] * 4
    await async_link.close()


async def test_execute_each_puts_an_error_where_its_answer_would_stand(
    endpoint: Endpoint, cluster: ClusterServers
) -> None:
    with cluster.client() as client:
        client.set(keys.pending("beta"), "x")
    link = open_async_link(endpoint)
    first, error = await link.execute_each([tasks.arm("alpha"), tasks.arm("beta")])
    assert first == 0
    assert isinstance(error, BrokerRefused)
    await link.close()


async def test_a_paused_node_is_unavailable_and_its_late_answers_reach_nobody(
    endpoint: Endpoint, cluster: ClusterServers
) -> None:
    link = open_async_link(endpoint)
    with cluster.client() as client:
        slot = client.cluster_keyslot(keys.pending("alpha"))
    node = cluster.nodes[slot // 5461]
    get = [
        command("GETRANGE", [keys.paused("alpha")], [n, n], bytes) for n in range(5)
    ]  # fmt: skip
    await link.execute(command("SET", [keys.paused("alpha")], ["01234"], bytes))
    assert await link.execute_many(get) == [b"0", b"1", b"2", b"3", b"4"]
    node.pause()
    answers = await link.execute_each(get)
    assert [type(one) for one in answers] == [BrokerUnavailable] * 5
    node.resume()
    assert await link.execute_many(get) == [b"0", b"1", b"2", b"3", b"4"]
    await link.close()


async def test_closing_leaves_no_connection_open_when_a_node_was_lost(
    endpoint: Endpoint, cluster: ClusterServers
) -> None:
    before = open_files_of(os.getpid())
    link = open_async_link(endpoint)
    ops = [tasks.arm(name) for name in QUEUES]
    assert await link.execute_many(ops) == [0] * 4
    cluster.nodes[0].kill()
    failed = [one for one in await link.execute_each(ops) if one != 0]
    assert failed
    await link.close()
    await aeventually(lambda: open_files_of(os.getpid()) <= before)


def test_a_forgotten_script_is_sent_again(link: Link, cluster: ClusterServers) -> None:
    assert link.execute(tasks.arm("alpha")) == 0
    for node in cluster.nodes:
        node.command("SCRIPT", "FLUSH")
    assert link.execute(tasks.arm("alpha")) == 0
    for node in cluster.nodes:
        node.command("SCRIPT", "FLUSH")
    assert link.execute_many([tasks.arm(name) for name in QUEUES]) == [0] * 4


def test_one_address_of_a_cluster_says_how_to_name_it(cluster: ClusterServers) -> None:
    link = open_link(parse_addresses(cluster.addrs[:1]))
    with pytest.raises(BrokerRefused, match="MOVED") as caught:
        link.execute_many([tasks.enqueue(name, [new("t", name)], now_ns=1) for name in QUEUES])
    assert "redis-cluster://" in caught.value.hint
    link.close()
