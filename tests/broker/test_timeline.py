"""The timeline: each script that moves tasks notes what it has moved, once; off, it notes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import redis
from msgspec.structs import replace

from qd.broker.connect import open_async_link, open_link
from qd.broker.endpoint import Endpoint, Topology
from qd.broker.link import Link
from qd.protocol import keys
from qd.protocol.message import Terms
from qd.protocol.op import Op
from qd.protocol.ops import (
    cron,
    endings,
    flows,
    groups,
    inspect_tasks,
    polls,
    pressure,
    tasks,
    timeline,
    upkeep,
)
from qd.protocol.ops.endings import Ending, Fate
from qd.protocol.ops.inspect import Container
from qd.protocol.ops.inspect_tasks import Rewrite
from qd.protocol.ops.polls import Told
from qd.protocol.ops.timeline import Entry
from qd.protocol.state import TaskState
from qd.protocol.timeline import MOST_OF_TASK, Timeline
from tests.support.builders import DAY, NOW, NOW_NS, OWNER, UNTIL, Queue, held, message, new
from tests.support.servers import RedisServer
from tests.support.wait import eventually

KEEP = Timeline(keep=3600, most=10_000, header="traceparent")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACED = (("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"),)


@pytest.fixture
def link(endpoint: Endpoint) -> Iterator[Link]:
    with closing(open_link(replace(endpoint, timeline=KEEP))) as link:
        yield link


def all_of(link: Link, queue: str = "mail") -> list[Entry]:
    return link.execute(timeline.since(queue, "0"))


def moves(link: Link) -> list[tuple[str, str, str, str]]:
    """Task, step, from and to of all that was noted."""
    return [(one.task_id, one.step, one.before, one.after) for one in all_of(link)]


def last(link: Link) -> Entry:
    return all_of(link)[-1]


def test_without_a_timeline_no_key_of_it_is_written(endpoint: Endpoint, raw: redis.Redis) -> None:
    with closing(open_link(endpoint)) as silent:
        queue = Queue(silent)
        queue.done(queue.hold("t1", "t2"))
    assert raw.keys("qd:*events*") == []


def test_the_way_of_a_task_that_succeeds(link: Link, queue: Queue) -> None:
    queue.done(queue.hold("t1"))
    assert moves(link) == [
        ("t1", "enqueue", "", "pending"),
        ("t1", "dequeue", "pending", "active"),
        ("t1", "done", "active", ""),
    ]
    one = last(link)
    host, _, pid = one.by.rpartition(":")
    assert host
    assert pid.isdigit()
    assert (one.type, one.attempt, one.reason, one.trace) == ("email:send", "1", "", "")


def test_a_retry_says_which_attempt_has_failed_why_and_when_the_next_one_is(
    link: Link, queue: Queue
) -> None:
    failed = message("t1", retried=1, error="TimeoutError: slow")
    end = Ending(queue.hold("t1")[0], message=failed, at=NOW + 9)
    assert link.execute(endings.retry("mail", OWNER, [end], day=DAY, now=NOW)) == [Fate.OK]
    one = last(link)
    assert (one.step, one.after, one.attempt, one.reason, one.next_at) == (
        "retry", "retry", "1", "TimeoutError: slow", str(NOW + 9),
    )  # fmt: skip
    link.execute(upkeep.forward("mail", TaskState.RETRY, now_ns=NOW_NS + 10**10, limit=10))
    one = last(link)
    assert (one.step, one.before, one.after, one.attempt) == ("forward", "retry", "pending", "2")


def test_a_revoked_task_has_not_succeeded(link: Link, queue: Queue) -> None:
    end = Ending(queue.hold("t1")[0])
    assert link.execute(endings.revoke("mail", OWNER, [end], day=DAY, now=NOW)) == [Fate.OK]
    assert (last(link).step, last(link).after) == ("revoke", "")


@pytest.mark.parametrize(
    ("operation", "step", "after"),
    [
        (endings.complete, "complete", "completed"),
        (endings.archive, "archive", "archived"),
        (endings.revoke, "revoke", ""),
    ],
)
def test_a_link_of_a_flow_ends_as_any_task(
    link: Link, queue: Queue, operation: Any, step: str, after: str
) -> None:
    end = Ending(queue.hold("flow:f:1")[0], message=message("flow:f:1"), at=NOW + 60)
    op = flows.noting_ends(operation("mail", OWNER, [end], day=DAY, now=NOW), "mail", now=NOW)
    assert link.execute(op) == [Fate.OK]
    assert moves(link)[-1] == ("flow:f:1", step, "active", after)


def test_a_snooze_is_not_an_attempt(link: Link, queue: Queue) -> None:
    end = Ending(queue.hold("t1")[0], message=message("t1"), at=NOW + 9, is_failure=False)
    link.execute(endings.retry("mail", OWNER, [end], day=DAY, now=NOW))
    assert last(link).attempt == "1"
    link.execute(upkeep.forward("mail", TaskState.RETRY, now_ns=NOW_NS + 10**10, limit=10))
    assert last(link).attempt == "1"


def test_a_poll_that_was_told_to_be_done_says_so(link: Link, queue: Queue) -> None:
    def tell(task_id: str) -> Told:
        step = polls.done(
            "mail", task_id, read=message(task_id), terms=Terms(), result=None, day=DAY, now=NOW
        )
        return link.execute(step)

    some = queue.hold("runs")
    queue.enqueue("waits")
    assert (tell("runs"), tell("waits")) == (Told.RUNS, Told.ENDED)
    one = last(link)
    assert (one.step, one.before, one.after, one.reason) == (
        "poll_done", "pending", "", "told that it is done",
    )  # fmt: skip
    ends = [Ending(one, message=message(one.id), at=NOW + 9, is_failure=False) for one in some]
    op = endings.retry("mail", OWNER, ends, day=DAY, now=NOW)
    assert link.execute(polls.heed(op, "mail", [Terms()], day=DAY, now=NOW)) == [Fate.TOLD]
    one = last(link)
    assert (one.step, one.before, one.after, one.reason) == (
        "retry", "active", "", "told that it is done",
    )  # fmt: skip


def test_a_poll_that_was_not_told_goes_its_way(link: Link, queue: Queue) -> None:
    kept = message("t1", retention=60)
    end = Ending(queue.hold("t1")[0], message=kept, at=NOW + 9, is_failure=False)
    op = endings.retry("mail", OWNER, [end], day=DAY, now=NOW)
    terms = [Terms(retention=60)]
    assert link.execute(polls.heed(op, "mail", terms, day=DAY, now=NOW)) == [Fate.OK]
    one = last(link)
    assert (one.step, one.after, one.next_at) == ("retry", "retry", str(NOW + 9))
    step = polls.done("mail", "t1", read=kept, terms=terms[0], result=b"1", day=DAY, now=NOW)
    assert link.execute(step) is Told.ENDED
    assert (last(link).before, last(link).after) == ("retry", "completed")


def test_ways_in_and_out(link: Link, queue: Queue) -> None:
    done = Ending(queue.hold("kept")[0], message=message("kept"), at=NOW + 1)
    link.execute(tasks.schedule("mail", [new("later", process_at=NOW + 5)]))
    assert last(link).next_at == str(NOW + 5)
    link.execute(tasks.add_to_group("mail", [new("member", group="g")], now=NOW))
    link.execute(tasks.dead_letter("mail", "dead", message("dead", error="sent here"), now=NOW))
    assert last(link).reason == "sent here"
    link.execute(cron.begin("mail", "daily", now=NOW - 9))
    link.execute(
        cron.tick(
            "mail",
            "daily",
            new("tick"),
            TaskState.PENDING,
            tick_at=NOW,
            overlap=True,
            now_ns=NOW_NS,
        )
    )
    link.execute(groups.check("mail", "g", "s", max_size=1, max_delay=0, grace=0, now=NOW + 1))
    link.execute(groups.aggregate("mail", "g", "s", new("one"), TaskState.PENDING, now_ns=NOW_NS))
    link.execute(endings.complete("mail", OWNER, [done], day=DAY, now=NOW))
    link.execute(upkeep.delete_expired_completed("mail", now=NOW + 2, limit=10))
    found = moves(link)
    for expected in (
        ("later", "schedule", "", "scheduled"),
        ("member", "add_to_group", "", "aggregating"),
        ("dead", "dead_letter", "", "archived"),
        ("tick", "cron_tick", "", "pending"),
        ("member", "aggregate", "aggregating", ""),
        ("one", "aggregate", "", "pending"),
        ("kept", "complete", "active", "completed"),
        ("kept", "delete_expired", "completed", ""),
    ):
        assert found.count(expected) == 1, expected


@pytest.mark.parametrize("poison", [False, True])
def test_what_became_of_a_dead_workers_task(link: Link, queue: Queue, poison: bool) -> None:
    queue.hold("t1")
    step = upkeep.hand_back(
        "mail", OWNER, running=[keys.task("mail", "t1")], cause="SIGSEGV", day=DAY, now_ns=NOW_NS
    )
    if poison:
        link.execute(step)
        queue.take(nonce="again")
    link.execute(step)
    one = last(link)
    assert one.after == ("archived" if poison else "pending")
    assert (one.before, one.step, one.reason) == ("active", "hand_back", "worker died: SIGSEGV")


def test_a_lost_lease_and_a_worker_that_stops(link: Link, queue: Queue) -> None:
    some = queue.hold("t1")
    assert link.execute(endings.requeue("mail", OWNER, some, now_ns=NOW_NS)) == [Fate.OK]
    assert (last(link).step, last(link).after) == ("requeue", "pending")
    queue.take(nonce="again")
    orphan = upkeep.Orphan("t1", UNTIL, OWNER, message("t1"))
    link.execute(
        upkeep.recover("mail", [(orphan, message("t1"))], cause="its host", day=DAY, now_ns=NOW_NS)
    )
    assert (last(link).step, last(link).after, last(link).reason) == (
        "recover",
        "pending",
        "its host",
    )


def test_what_operators_do(link: Link, queue: Queue) -> None:
    queue.enqueue("t1")
    pending = Container("mail", TaskState.PENDING)
    archived = Container("mail", TaskState.ARCHIVED)
    link.execute(inspect_tasks.archive(pending, ["t1"], now=NOW))
    link.execute(inspect_tasks.run(archived, [Rewrite("t1")], now_ns=NOW_NS))
    link.execute(inspect_tasks.delete(pending, [("t1", "")]))
    assert moves(link)[1:] == [
        ("t1", "archive_tasks", "pending", "archived"),
        ("t1", "run_tasks", "archived", "pending"),
        ("t1", "delete_tasks", "pending", ""),
    ]


def test_what_a_full_queue_takes_in_is_noted_and_what_it_refuses_is_not(link: Link) -> None:
    step = tasks.enqueue("mail", [new("t1"), new("t2")], now_ns=NOW_NS)
    marks = pressure.Marks(warning=1, critical=1, margin=0)
    link.execute(pressure.bounded(step, "mail", marks, count_as=pressure.REFUSED, now=NOW))
    assert moves(link) == [("t1", "enqueue", "", "pending")]


def test_a_task_that_waits_at_a_gate(link: Link, queue: Queue) -> None:
    end = Ending(queue.hold("t1")[0], at=NOW + 60, waits="limit api")
    assert link.execute(endings.park("mail", OWNER, [end], day=DAY, now=NOW)) == [Fate.OK]
    one = last(link)
    assert (one.step, one.after, one.next_at) == ("park", "scheduled", str(NOW + 60))
    assert one.reason == "waits for limit api"
    assert link.execute(endings.unpark("mail", ["t1"], now_ns=NOW_NS)) == []
    assert (last(link).step, last(link).before, last(link).after) == (
        "unpark", "scheduled", "pending",
    )  # fmt: skip


def test_what_is_refused_or_repeated_is_not_noted_again(link: Link, queue: Queue) -> None:
    some = queue.hold("t1")
    before = moves(link)
    queue.enqueue("t1")
    queue.take(nonce="hold ('t1',)")
    queue.done(some, owner="another")
    assert moves(link) == before
    queue.done(some)
    queue.done(some)
    assert len(moves(link)) == len(before) + 1


@pytest.mark.parametrize(
    ("header", "value", "trace"),
    [
        ("traceparent", TRACED[0][1], TRACE),
        ("traceparent", "odd", "odd"),
        ("x-request-id", "4711", "4711"),
        ("another", TRACED[0][1], ""),
    ],
)
def test_tasks_are_found_by_their_trace(
    endpoint: Endpoint, header: str, value: str, trace: str
) -> None:
    kept = replace(KEEP, header="x-request-id" if header == "x-request-id" else "traceparent")
    with closing(open_link(replace(endpoint, timeline=kept))) as link:
        queue = Queue(link)
        # The same bytes in a payload are no header.
        payload = message("x", headers=TRACED)
        queue.enqueue(new("t1", headers=((header, value),)), new("t2", payload=payload))
        assert [one.trace for one in all_of(link)] == [trace, ""]
        assert link.execute(timeline.tasks_of_trace("mail", trace or TRACE)) == (
            ["t1"] if trace else []
        )


def test_a_message_that_nobody_can_read_is_noted_without_what_it_says(
    link: Link, queue: Queue
) -> None:
    queue.enqueue(tasks.NewTask("t1", b"\x0a\xff\xff\xff\xff\xff"))
    queue.take()
    link.execute(endings.archive("mail", OWNER, [Ending(held("t1")[0])], day=DAY, now=NOW))
    assert [one.after for one in all_of(link)] == ["pending", "active", "archived"]
    assert last(link).reason == "its message cannot be read"


def test_a_task_has_at_most_its_latest_hundred(link: Link, queue: Queue) -> None:
    for n in range(MOST_OF_TASK):
        queue.enqueue("t1")
        queue.take(nonce=str(n))
        queue.done(held("t1"))
        if n == 40:
            # What is known of others stays.
            queue.hold("t2")
    _, found = link.execute(timeline.of_task("mail", "t1"))
    assert len(found) == MOST_OF_TASK
    assert found == [one for one in all_of(link) if one.task_id == "t1"][-MOST_OF_TASK:]
    assert len(link.execute(timeline.of_task("mail", "t2"))[1]) == 2


def test_not_more_than_wanted_are_kept_with_what_points_to_them(
    endpoint: Endpoint, raw: redis.Redis
) -> None:
    kept = replace(KEEP, most=20)
    with closing(open_link(replace(endpoint, timeline=kept))) as link:
        queue = Queue(link)
        for n in range(50):
            queue.enqueue(new(f"t{n}", headers=(("traceparent", f"trace{n}"),)))
        known = {one.task_id for one in all_of(link)}
    assert known == {f"t{n}" for n in range(30, 50)}
    events = keys.events("mail")
    assert set(raw.keys("qd:*")) == {
        events.encode(),
        *(keys.events_of_task("mail", one).encode() for one in known),
        *(keys.events_of_trace("mail", f"trace{one[1:]}").encode() for one in known),
    }


def test_nothing_is_kept_for_longer_than_wanted(endpoint: Endpoint, raw: redis.Redis) -> None:
    kept = replace(KEEP, keep=0.3)
    with closing(open_link(replace(endpoint, timeline=kept))) as link:
        queue = Queue(link)
        queue.enqueue("old")
        at = int(last(link).at.partition("-")[0])

        def is_over() -> bool:
            seconds, micros = raw.time()
            return seconds * 1000 + micros // 1000 > at + 300

        eventually(is_over)
        # Written by hand: an entry whose time is over, in a stream that was written to since.
        raw.xadd(keys.events("mail"), {"id": "old", "trace": ""}, id=f"{at}-7")
        queue.enqueue("young")
        assert {one.task_id for one in all_of(link)} == {"young"}
        eventually(lambda: raw.keys("qd:*events*") == [])


def test_a_key_of_another_type_in_its_place_keeps_no_task_from_moving(
    link: Link, queue: Queue, raw: redis.Redis
) -> None:
    raw.set(keys.events("mail"), "x")
    assert queue.done(queue.hold("t1")) == [Fate.OK]
    assert raw.get(keys.events("mail")) == b"x"


def test_without_the_right_to_write_it_tasks_move_all_the_same(server: RedisServer) -> None:
    server.add_user("app", "secret", "~*", "&*", "+@all", "-xadd")
    endpoint = Endpoint(
        Topology.SINGLE,
        path=str(server.socket_path),
        username="app",
        password="secret",
        timeline=KEEP,
    )
    with closing(open_link(endpoint)) as link:
        queue = Queue(link)
        assert queue.done(queue.hold("t1")) == [Fate.OK]
        assert all_of(link) == []


def test_a_full_server_lets_tasks_end_and_notes_it(
    link: Link, queue: Queue, server: RedisServer
) -> None:
    some = queue.hold("t1")
    with server.configured(maxmemory="1"):
        assert queue.done(some) == [Fate.OK]
        assert last(link).step == "done"


async def test_all_kinds_of_links_note(endpoint: Endpoint, link: Link) -> None:
    asynchronous = open_async_link(replace(endpoint, timeline=KEEP))
    step: Op[Any] = tasks.enqueue("mail", [new("t1")], now_ns=NOW_NS)
    await asynchronous.execute(step)
    await asynchronous.close()
    assert moves(link) == [("t1", "enqueue", "", "pending")]
