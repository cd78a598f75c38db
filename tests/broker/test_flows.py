"""The scripts that keep flows: each is safe to repeat, and for two at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from qd.broker.link import Link
from qd.client import continuing
from qd.client.continuing import go_on
from qd.client.steps import Steps, carry_out_now
from qd.errors import BrokerRefused
from qd.protocol import keys
from qd.protocol.flow import Place, place_of_id
from qd.protocol.op import Op
from qd.protocol.ops import endings, flows, tasks
from qd.protocol.ops.endings import Ending, Fate
from qd.protocol.ops.flows import FlowState, Kept, Moved, News, NodeState
from tests.support.builders import DAY, NOW, NOW_NS, OWNER, UNTIL, Queue, held, message
from tests.support.servers import RedisServer

FLOW = "f1"
HASH = keys.flow(FLOW)


def task_id(number: int) -> str:
    return Place(FLOW, number).task_id


def node(
    number: int,
    before: Sequence[int] = (),
    behind: Sequence[int] = (),
    *,
    queue: str = "mail",
    **more: Any,
) -> Kept:
    return Kept(number, before, behind, queue, "email:send", message(task_id(number)), **more)


CHAIN = [node(1, (), [2]), node(2, [1], [3]), node(3, [2])]
FAN_IN = [node(1, (), [3]), node(2, (), [3]), node(3, [1, 2])]


def whole(token: str = "t", nodes: Sequence[Kept] = (), keep: int = 60) -> Op[bool]:
    ends = [one.number for one in nodes if one.queue and not one.behind]
    return flows.describe(
        FLOW, token, links=sum(bool(one.queue) for one in nodes), ends=ends, wide=False, keep=keep,
        queue_prefix="", ttl=100,
    )  # fmt: skip


def begin(link: Link, nodes: Sequence[Kept]) -> None:
    stored = link.execute_many([whole("t", nodes), flows.store(FLOW, "t", nodes, ttl=100)])
    assert stored == [True, True]
    link.execute(flows.look_after("", FLOW, at=NOW))
    roots = [one.number for one in nodes if not one.before]
    assert link.execute(flows.start(FLOW, "t", roots, now=NOW))


def move(link: Link, *news: News, now: float = NOW, limit: int = 100) -> Moved:
    return link.execute(flows.move(FLOW, news, now=now, hold=1.0, limit=limit))


def done(number: int, result: bytes = b"") -> News:
    return News(number, NodeState.DONE, result)


def enqueued(number: int) -> News:
    return News(number, NodeState.ENQUEUED)


def dead(number: int) -> News:
    return News(number, NodeState.DEAD)


def gone(number: int) -> News:
    return News(number, NodeState.GONE)


def numbers(moved: Moved) -> list[int]:
    return [one.number for one in moved.ready]


# --- storing and starting -------------------------------------------------------------------------


def test_what_is_stored_expires_until_it_starts(link: Link, server: RedisServer) -> None:
    link.execute_many([whole(), flows.store(FLOW, "t", CHAIN, ttl=100)])
    assert 0 < server.command("TTL", HASH) <= 100
    assert move(link) == Moved(FlowState.STORING, True, [])
    assert link.execute(flows.start(FLOW, "t", [1], now=NOW))
    assert server.command("TTL", HASH) == -1
    assert link.execute(flows.start(FLOW, "t", [1], now=NOW))
    assert numbers(move(link)) == [1]


def test_of_two_who_store_a_flow_under_one_id_one_starts_it(
    link: Link, server: RedisServer
) -> None:
    """The one that came later: the other may be dead, and would keep it out until it expires."""
    assert link.execute_many([whole("dead"), flows.store(FLOW, "dead", CHAIN, ttl=100)])
    assert link.execute(whole("t"))
    assert server.command("HEXISTS", HASH, "m1") == 0
    assert not link.execute(flows.store(FLOW, "dead", CHAIN, ttl=100))
    assert not link.execute(flows.start(FLOW, "dead", [1], now=NOW))
    assert link.execute(flows.store(FLOW, "t", CHAIN, ttl=100))
    assert link.execute(flows.start(FLOW, "t", [1], now=NOW))
    assert not link.execute(whole("late"))
    assert not link.execute(flows.store(FLOW, "t", CHAIN, ttl=100))
    assert numbers(move(link)) == [1]


def test_what_has_expired_is_not_stored_further_and_does_not_start(
    link: Link, server: RedisServer
) -> None:
    link.execute(whole())
    server.command("DEL", HASH)
    assert not link.execute(flows.store(FLOW, "t", CHAIN, ttl=100))
    assert not link.execute(flows.start(FLOW, "t", [1], now=NOW))
    assert server.command("DBSIZE") == 0


# --- moving on ------------------------------------------------------------------------------------


def test_a_chain_gives_one_link_after_the_other(link: Link, server: RedisServer) -> None:
    begin(link, CHAIN)
    first = move(link)
    (ready,) = first.ready
    assert (first.state, ready.queue, ready.message) == (
        FlowState.RUNNING, "mail", message(task_id(1)),
    )  # fmt: skip
    assert numbers(move(link, enqueued(1))) == []
    assert server.command("HEXISTS", HASH, "m1") == 0
    assert numbers(move(link, done(1, b"7"))) == [2]
    assert numbers(move(link, enqueued(2), done(2))) == [3]
    last = move(link, enqueued(3), done(3, b"9"), now=NOW + 5)
    assert last == Moved(FlowState.DONE, False, [])
    assert link.execute(flows.results(FLOW, [1, 2, 3])) == [b"7", None, b"9"]
    assert server.command("TTL", HASH) == 60
    assert server.command("EXISTS", keys.flow_ready(FLOW), keys.flow_open(FLOW)) == 0


def test_news_told_twice_change_nothing(link: Link, server: RedisServer) -> None:
    begin(link, FAN_IN)
    move(link, enqueued(1), enqueued(2))
    for _ in range(3):
        assert numbers(move(link, done(1, b"1"), done(1, b"other"))) == []
    assert server.command("HGET", HASH, "r1") == b"1"
    assert numbers(move(link, done(2))) == [3]
    assert move(link, done(1), done(2), enqueued(1), dead(2), gone(1)).ready == []
    shown = link.execute(flows.show(FLOW))
    assert shown is not None
    assert (shown.ended, shown.dead, shown.gone) == (2, 0, 0)


def test_what_is_in_hand_is_given_to_nobody_else_for_a_while(link: Link) -> None:
    begin(link, FAN_IN)
    assert numbers(move(link, limit=1)) == [1]
    assert numbers(move(link)) == [2]
    assert numbers(move(link, now=NOW + 0.9)) == []
    # Who had them has died.
    assert numbers(move(link, now=NOW + 1.1)) == [1, 2]


def test_an_end_may_come_before_the_word_that_it_was_enqueued(link: Link) -> None:
    begin(link, CHAIN)
    move(link)
    assert numbers(move(link, done(1))) == [2]
    assert numbers(move(link, enqueued(1), now=NOW + 9)) == [2]
    shown = link.execute(flows.look(FLOW, now=NOW, limit=9))
    assert shown.links == []


def test_large_messages_come_few_at_a_time(link: Link) -> None:
    big = [Kept(n, (), (), "mail", "t", b"x" * 600_000) for n in range(1, 6)]
    begin(link, big)
    assert numbers(move(link)) == [1, 2]
    assert numbers(move(link)) == [3, 4]


def test_a_join_waits_for_all_and_lets_all_go(link: Link) -> None:
    begin(
        link,
        [
            node(1, (), [-1]),
            node(2, (), [-1]),
            Kept(-1, [1, 2], [3, 4]),
            node(3, [-1]),
            node(4, [-1]),
        ],
    )
    move(link, enqueued(1), enqueued(2), done(1))
    (join,) = move(link, done(2)).ready
    assert (join.number, join.queue) == (-1, "")
    assert numbers(move(link, done(-1))) == [3, 4]
    assert link.execute(flows.before(Place(FLOW, 4))) == [1, 2]
    assert link.execute(flows.before(Place(FLOW, 1))) == []
    assert link.execute(flows.before(Place(FLOW, 9))) is None
    assert move(link, done(3), done(4)).state is FlowState.DONE


# --- what stops -----------------------------------------------------------------------------------


def test_a_dead_link_stops_its_branch_until_it_lives_again(link: Link, server: RedisServer) -> None:
    begin(link, FAN_IN)
    move(link, enqueued(1), enqueued(2))
    assert move(link, dead(1), done(2)) == Moved(FlowState.FAILED, True, [])
    assert server.command("TTL", HASH) == -1
    shown = link.execute(flows.show(FLOW))
    assert shown is not None
    assert (shown.dead, shown.stopped_at) == (1, 1)
    assert move(link, enqueued(1)).state is FlowState.RUNNING
    move(link, dead(1))
    assert numbers(move(link, done(1))) == [3]
    assert move(link, done(3)).state is FlowState.DONE


def test_a_flow_that_cannot_go_on_is_kept_for_a_while(link: Link, server: RedisServer) -> None:
    begin(link, FAN_IN)
    move(link, enqueued(1), enqueued(2))
    assert move(link, gone(1)) == Moved(FlowState.BROKEN, True, [])
    assert server.command("TTL", HASH) == -1
    assert move(link, done(2)) == Moved(FlowState.BROKEN, False, [])
    assert server.command("TTL", HASH) == flows.KEEP_BROKEN
    # Imported again, and ended well.
    assert numbers(move(link, done(1))) == [3]
    assert server.command("TTL", HASH) == -1


def test_a_flow_that_is_not_there_is_said_to_be_gone(link: Link, server: RedisServer) -> None:
    assert move(link, done(1)) == Moved(None, False, [])
    assert link.execute(flows.look(FLOW, now=NOW, limit=9)).state is None
    assert link.execute(flows.show(FLOW)) is None
    assert server.command("DBSIZE") == 0


def test_a_key_of_the_wrong_kind_is_left_alone(link: Link, server: RedisServer) -> None:
    server.command("SET", HASH, "x")
    for op in (
        flows.store(FLOW, "t", CHAIN, ttl=9),
        flows.start(FLOW, "t", [1], now=NOW),
        flows.move(FLOW, [done(1)], now=NOW, hold=1, limit=9),
        flows.look(FLOW, now=NOW, limit=9),
    ):
        with pytest.raises(BrokerRefused):
            link.execute(op)  # type: ignore[arg-type]
    assert server.command("GET", HASH) == b"x"


# --- looking --------------------------------------------------------------------------------------


def test_links_at_which_nobody_has_looked_for_longest_come_first(link: Link) -> None:
    begin(link, [node(n) for n in range(1, 6)])
    move(link, *(enqueued(n) for n in range(1, 6)))
    seen = link.execute(flows.look(FLOW, now=NOW + 1, limit=2))
    assert (seen.state, seen.changed) == (FlowState.RUNNING, NOW)
    assert [(one.number, one.state, one.queue) for one in seen.links] == [
        (1, NodeState.ENQUEUED, "mail"), (2, NodeState.ENQUEUED, "mail"),
    ]  # fmt: skip
    assert [one.number for one in link.execute(flows.look(FLOW, now=NOW + 2, limit=4)).links] == [
        3, 4, 5, 1,
    ]  # fmt: skip


def test_flows_that_are_due_are_given_to_one(link: Link) -> None:
    for number in range(3):
        link.execute(flows.look_after("p_", f"f{number}", at=NOW + number))
    assert link.execute(flows.due("p_", now=NOW + 1, hold=31, limit=1)) == ["f0"]
    assert link.execute(flows.due("p_", now=NOW + 1, hold=31, limit=9)) == ["f1"]
    assert link.execute(flows.due("p_", now=NOW + 1, hold=31, limit=9)) == []
    assert link.execute(flows.due("", now=NOW + 99, hold=31, limit=9)) == []
    # What is sooner holds, whoever says it last.
    link.execute_many(
        [flows.look_after("p_", "f0", at=NOW + 2), flows.look_after("p_", "f0", at=NOW + 20)]
    )
    assert link.execute(flows.due("p_", now=NOW + 2, hold=31, limit=9)) == ["f0", "f2"]
    link.execute(flows.look_no_more("p_", "f0"))
    assert sorted(link.execute(flows.alive("p_", offset=0, limit=9))) == ["f1", "f2"]


# --- the ends of links ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "state"),
    [(endings.complete, b"completed"), (endings.archive, b"archived"), (endings.revoke, None)],
)
def test_the_end_of_a_link_is_noted_with_it(
    queue: Queue, link: Link, server: RedisServer, operation: Any, state: bytes | None
) -> None:
    ids = [task_id(n) for n in (1, 2, 3)]
    queue.hold(*ids)
    one, two = held(*ids[:2])
    (three,) = held(ids[2], until=UNTIL + 1)  # Somebody else's.
    members = [
        Ending(one, message=message(ids[0]), at=NOW + 60, result=b"7"),
        Ending(two, message=message(ids[1]), at=NOW + 60),
        Ending(three, message=message(ids[2]), at=NOW + 60),
    ]
    plain = operation("mail", OWNER, members, day=DAY, now=NOW)
    op = flows.noting_ends(plain, "mail", now=NOW + 0.5)
    assert link.execute(op) == [Fate.OK, Fate.OK, Fate.STALE]
    assert server.command("HGET", keys.task("mail", ids[0]), "state") == state
    assert link.execute(flows.ended("mail", until=NOW, limit=9)) == []
    assert link.execute(flows.ended("mail", until=NOW + 1, limit=9)) == ids[:2]
    assert link.execute(op)[0] in (Fate.STALE, Fate.GONE)
    link.execute(flows.noted("mail", ids[:1]))
    assert link.execute(flows.ended("mail", until=NOW + 1, limit=9)) == ids[1:2]


def test_what_became_of_a_link_is_read_from_its_task(queue: Queue, link: Link) -> None:
    place = Place(FLOW, 1)
    assert link.execute(flows.read_end("mail", place)) == gone(1)
    queue.hold(place.task_id)
    assert link.execute(flows.read_end("mail", place)) == enqueued(1)
    (lease,) = held(place.task_id)
    ending = Ending(lease, message=message(place.task_id), at=NOW + 60, result=b"7")
    link.execute(endings.complete("mail", OWNER, [ending], day=DAY, now=NOW))
    assert link.execute(flows.read_end("mail", place)) == done(1, b"7")


def test_places_and_ids_are_told_from_each_other() -> None:
    assert place_of_id("flow:a:b:12") == Place("a:b", 12)
    assert Place("a:b", 12).task_id == "flow:a:b:12"
    for other in ("flow:", "flow:a", "flow::1", "flow:a:x", "flow:a:-1", "a:1", ""):
        assert place_of_id(other) is None


# --- whoever dies in between ----------------------------------------------------------------------


def _until(link: Link, steps: Steps[Any], count: int) -> bool:
    """Carry out so many steps, as one who dies then; True if it came to the end."""
    try:
        ops = next(steps)
        for _ in range(count):
            ops = steps.send(link.execute_each(ops))
    except StopIteration:
        return True
    return False


def pending(server: RedisServer) -> list[bytes]:
    found: list[bytes] = server.command("LRANGE", keys.pending("mail"), 0, -1)
    return found[::-1]


@pytest.mark.parametrize("count", range(5))
def test_whoever_moves_a_flow_may_die_after_any_step(
    link: Link, server: RedisServer, count: int
) -> None:
    now = float(NOW)

    def go_on(*given: Any) -> Steps[Moved]:
        return continuing.go_on(*given, clock=lambda: now)

    begin(link, FAN_IN)
    carry_out_now(link, go_on("", FLOW))
    assert pending(server) == [task_id(1).encode(), task_id(2).encode()]
    carry_out_now(link, go_on("", FLOW, [done(1)]))
    _until(link, go_on("", FLOW, [done(2)]), count)
    now += 1.1
    carry_out_now(link, go_on("", FLOW, [done(2)]))
    assert pending(server) == [task_id(n).encode() for n in (1, 2, 3)]
    assert server.command("ZRANGE", keys.flow_open(FLOW), 0, -1) == [b"3"]
    carry_out_now(link, go_on("", FLOW, [done(3)]))
    assert server.command("EXISTS", keys.flows("")) == 0


def test_two_who_move_a_flow_at_the_same_time_enqueue_each_link_once(
    link: Link, server: RedisServer
) -> None:
    begin(link, [node(1, (), range(2, 402)), *(node(n, [1]) for n in range(2, 402))])
    carry_out_now(link, go_on("", FLOW))
    movers = [go_on("", FLOW, [done(1)]) for _ in range(3)]
    ops = {mover: next(mover) for mover in movers}
    while ops:
        for mover in list(ops):
            try:
                ops[mover] = mover.send(link.execute_each(ops[mover]))
            except StopIteration:
                del ops[mover]
    assert sorted(pending(server)) == sorted(task_id(n).encode() for n in range(1, 402))
    assert server.command("ZCARD", keys.flow_open(FLOW)) == 400


def test_delays_count_from_when_a_link_can_be_enqueued(link: Link, server: RedisServer) -> None:
    begin(link, [node(1, delay=3600.0), node(2, not_before=float(NOW)), node(3)])
    carry_out_now(link, go_on("", FLOW))
    assert pending(server) == [task_id(3).encode()]
    rows = iter(server.command("ZRANGE", keys.scheduled("mail"), 0, -1, "WITHSCORES"))
    found = dict(zip(rows, rows, strict=True))
    assert found.keys() == {task_id(1).encode(), task_id(2).encode()}
    assert float(found[task_id(2).encode()]) == NOW


def test_a_queue_that_takes_nothing_in_holds_up_no_other(link: Link, server: RedisServer) -> None:
    server.command("SET", keys.pending("bad"), "x")
    begin(link, [node(1, queue="bad"), node(2)])
    with pytest.raises(BrokerRefused):
        carry_out_now(link, go_on("", FLOW))
    assert pending(server) == [task_id(2).encode()]
    server.command("DEL", keys.pending("bad"))
    late = flows.move(FLOW, (), now=9 * NOW, hold=1, limit=9)
    assert numbers(link.execute(late)) == [1]


def test_a_link_that_is_there_already_counts_as_enqueued(link: Link, server: RedisServer) -> None:
    begin(link, CHAIN)
    link.execute(
        tasks.enqueue("mail", [tasks.NewTask(task_id(1), message(task_id(1)))], now_ns=NOW_NS)
    )
    carry_out_now(link, go_on("", FLOW))
    assert pending(server) == [task_id(1).encode()]
    assert server.command("ZRANGE", keys.flow_open(FLOW), 0, -1) == [b"1"]
