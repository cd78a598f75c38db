"""What a worker, a scheduler and a client may do with no more rights than they need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from qd.broker.connect import open_async_link, open_link, open_node_link
from qd.broker.endpoint import Endpoint, Topology
from qd.broker.link import Link
from qd.client.builder import TaskBuilder
from qd.client.compose import Composer
from qd.client.continuing import settle
from qd.client.starting import begin, compose
from qd.client.steps import carry_out_now
from qd.errors import BrokerRefused
from qd.handlers.options import NO_OPTIONS
from qd.protocol import keys
from qd.protocol.message import ServerInfo
from qd.protocol.op import command
from qd.protocol.ops import cron, endings, flows, locks, presence, tasks, upkeep
from qd.protocol.ops.endings import Ending
from qd.protocol.state import TaskState
from tests.support.builders import DAY, NOW, NOW_NS, OWNER, UNTIL, Queue, held, message, new
from tests.support.servers import RedisServer

KEYS = ("~asynq:*", "~qd:*", "&asynq:cancel")
COMMANDS = [
    "+@read",
    "+@write",
    "+@connection",
    "+@scripting",
    "+publish",
    "+subscribe",
    "+unsubscribe",
    "-@admin",
    "-@dangerous",
    "-flushall",
    "-flushdb",
    "-swapdb",
]


@pytest.fixture
def endpoint(server: RedisServer) -> Endpoint:
    server.add_user("app", "secret", *KEYS, *COMMANDS)
    return Endpoint(
        Topology.SINGLE,
        path=str(server.socket_path),
        username="app",
        password="secret",
        call_timeout=1.0,
    )


@pytest.fixture
def link(endpoint: Endpoint) -> Iterator[Link]:
    link = open_link(endpoint)
    yield link
    link.close()


def test_the_whole_life_of_tasks_needs_no_more(queue: Queue, link: Link) -> None:
    link.execute(tasks.announce(["mail"]))
    queue.enqueue(*(new(f"t{n}", unique=f"u{n}") for n in range(6)))
    link.execute(tasks.schedule("mail", [new("s", process_at=NOW)]))
    link.execute(tasks.add_to_group("mail", [new("g", group="g1")], now=NOW))
    queue.take(6)
    one, two, three, four, five, six = held(*(f"t{n}" for n in range(6)))
    link.execute(endings.extend("mail", OWNER, [one], lease_until=UNTIL))
    assert link.execute(endings.write_result("mail", OWNER, *held("t0"), b"r"))
    assert queue.done([one]) == [1]
    for operation, ending in (
        (endings.complete, Ending(two, message=b"m", at=NOW)),
        (endings.retry, Ending(three, message=b"m", at=NOW)),
        (endings.archive, Ending(four, message=b"m")),
    ):
        assert link.execute(operation("mail", OWNER, [ending], day=DAY, now=NOW)) == [1]
    assert link.execute(endings.requeue("mail", OWNER, [five], now_ns=NOW_NS)) == [1]
    assert link.execute(
        upkeep.hand_back(
            "mail", OWNER, running=[keys.task("mail", six.id)], cause="", day=DAY, now_ns=NOW_NS
        )
    )[0] == ["t5"]  # fmt: skip
    for source in (TaskState.SCHEDULED, TaskState.RETRY):
        assert link.execute(upkeep.forward("mail", source, now_ns=NOW_NS, limit=9)).moved == 1
    assert link.execute(upkeep.delete_expired_completed("mail", now=NOW, limit=9)) == 1
    assert link.execute(tasks.dead_letter("mail", "d", message("d"), now=NOW))
    assert link.execute(locks.acquire("a", "me", ttl_ms=1000))
    info = ServerInfo("h", 1, "id", 1, (), False, "active", NOW_NS, 0)
    link.execute_many(presence.write_server(info, [], now=NOW))
    link.execute_many(presence.clear_server("h", 1, "id"))
    link.execute(presence.publish_cancel("t1"))
    link.execute(cron.store("", "nightly", b"{}"))
    assert link.execute(cron.stored("")) == {"nightly": b"{}"}
    assert link.execute(cron.unstore("", "nightly"))
    link.execute(cron.begin("mail", "nightly", now=NOW))
    link.execute_many(presence.write_entries("s1", [], [b"{}"], now=NOW, ttl=20))
    link.execute_many(presence.clear_entries("s1"))


async def test_flows_need_no_more(link: Link, endpoint: Endpoint) -> None:
    made = TaskBuilder(None, "work").queue("mail")  # type: ignore[arg-type]
    composer = Composer(NO_OPTIONS, queue_prefix="", payload_limit=1000)
    new_flow = compose(
        made >> made, composer, flow_id="f", options_of=lambda _: NO_OPTIONS, headers={}
    )
    carry_out_now(link, begin(new_flow, None))
    queue = Queue(link)
    queue.take()
    ending = Ending(*held("flow:f:1"), message=message("flow:f:1"), at=NOW)
    step = endings.complete("mail", OWNER, [ending], day=DAY, now=NOW)
    assert link.execute(flows.noting_ends(step, "mail", now=1.0)) == [1]
    ids = link.execute(flows.ended("mail", until=2.0, limit=9))
    own = open_async_link(endpoint)
    assert await settle(own, "", "mail", ids) == 1
    await own.close()
    assert link.execute(flows.due("", now=NOW, hold=9, limit=9)) == ["f"]
    link.execute(flows.look("f", now=NOW, limit=9))
    assert [one.id for one in queue.take(nonce="2") or ()] == ["flow:f:2"]


async def test_waking_up_needs_no_more(endpoint: Endpoint) -> None:
    heard: list[Any] = []
    link = open_node_link(
        endpoint,
        greeting=[("CLIENT", "TRACKING", "ON"), ("SUBSCRIBE", keys.CANCEL_CHANNEL)],
        on_push=heard.append,
    )
    assert await link.execute(tasks.arm("mail")) == 0
    await link.close()


async def test_what_is_not_allowed_is_named_and_the_link_works_on(endpoint: Endpoint) -> None:
    link = open_async_link(endpoint)
    with pytest.raises(BrokerRefused, match="NOPERM") as caught:
        await link.execute(command("GET", ["other"], [], bytes))
    assert "ACL user lacks a right" in caught.value.hint
    with pytest.raises(BrokerRefused, match="NOPERM"):
        await link.execute(command("FLUSHALL", [], [], bytes))
    assert await link.execute(tasks.arm("mail")) == 0
    await link.close()


def test_a_script_that_may_not_write_changes_nothing(server: RedisServer, link: Link) -> None:
    server.add_user("app", "secret", *KEYS, "+@read", "+@scripting", "+@connection")
    with pytest.raises(BrokerRefused):
        link.execute(tasks.enqueue("mail", [new("t1", unique="u")], now_ns=NOW_NS))
    assert server.command("DBSIZE") == 0


@pytest.mark.parametrize("missing", ["ltrim", "lpush", "zadd", "hset", "hdel", "set"])
def test_a_right_taken_away_while_running_loses_no_task(
    server: RedisServer, queue: Queue, missing: str
) -> None:
    queue.enqueue("t1")
    server.add_user("app", "secret", *KEYS, *COMMANDS, f"-{missing}")
    with pytest.raises(BrokerRefused):
        queue.take()
    server.add_user("app", "secret", *KEYS, *COMMANDS)
    waiting = server.command("LRANGE", keys.pending("mail"), 0, -1)
    running = server.command("LRANGE", keys.active("mail"), 0, -1)
    leased = server.command("ZRANGE", keys.lease("mail"), 0, -1)
    assert waiting == [b"t1"] or running == leased == [b"t1"]
    assert server.command("HGET", keys.task("mail", "t1"), "msg") == message("t1")
