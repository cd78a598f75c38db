"""Polls that somebody says are done: in every state, once, and with no gap for the one who runs it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from qd.broker.link import Link
from qd.errors import BrokerRefused
from qd.protocol import codec, keys
from qd.protocol.message import Terms
from qd.protocol.op import Op
from qd.protocol.ops import endings, inspect_tasks, polls, tasks
from qd.protocol.ops.endings import Ending, Fate, Held
from qd.protocol.ops.inspect import Container
from qd.protocol.ops.inspect_tasks import Rewrite
from qd.protocol.ops.polls import Told
from qd.protocol.state import TaskState
from tests.support.builders import (
    DAY,
    NOW,
    NOW_NS,
    OWNER,
    Queue,
    held,
    lock_key,
    message,
    new,
)
from tests.support.servers import RedisServer
from tests.support.snapshot import changes, snapshot

KEPT = 60
"""The retention of the tasks here, in seconds."""


def done(
    link: Link,
    task_id: str = "t1",
    result: bytes | None = None,
    *,
    read: bytes | None = None,
    unique: str = "",
    retention: int = 0,
) -> Told:
    lock = lock_key(unique) if unique else ""
    terms = Terms(retention=retention, unique_key=lock)
    stored = message(task_id, retention=retention, unique_key=lock) if read is None else read
    return link.execute(
        polls.done("mail", task_id, read=stored, terms=terms, result=result, day=DAY, now=NOW)
    )


def heed(
    link: Link,
    operation: Callable[..., Op[list[Fate]]],
    *ended: Ending,
    retention: int = 0,
    owner: str = OWNER,
) -> list[Fate]:
    op = operation("mail", owner, list(ended), day=DAY, now=NOW)
    terms = [Terms(retention=retention)] * len(ended)
    return link.execute(polls.heed(op, "mail", terms, day=DAY, now=NOW))


def ending(one: Held, *, is_failure: bool = False) -> Ending:
    stored = message(one.id, error="still encoding")
    return Ending(one, message=stored, at=NOW + 9, is_failure=is_failure)


def field(raw: redis.Redis, name: str, task_id: str = "t1") -> bytes | None:
    return raw.hget(keys.task("mail", task_id), name)  # type: ignore[return-value]


def put(queue: Queue, link: Link, state: str, **terms: object) -> None:
    """Bring a task `t1` into a state in which it waits."""
    task = new("t1", process_at=NOW + 5, **terms)  # type: ignore[arg-type]
    if state == "scheduled":
        link.execute(tasks.schedule("mail", [task]))
        return
    queue.enqueue(task)
    if state == "retry":
        queue.take(nonce="retry")
        end = Ending(held("t1")[0], message=task.message, at=NOW + 9, is_failure=False)
        link.execute(endings.retry("mail", OWNER, [end], day=DAY, now=NOW))


WAITING = ["pending", "scheduled", "retry"]


@pytest.mark.parametrize("state", WAITING)
def test_one_that_waits_is_gone_and_counted_like_one_that_has_succeeded(
    queue: Queue, link: Link, raw: redis.Redis, state: str
) -> None:
    put(queue, link, state, unique="u")
    assert raw.exists(lock_key("u"))
    assert done(link, unique="u", result=b"lost without retention") is Told.ENDED
    raw.delete(keys.fetch("mail", OWNER))
    assert snapshot(raw) == {
        keys.processed("mail"): b"1",
        keys.processed_on("mail", DAY): b"1",
    }
    assert done(link, unique="u") is Told.GONE


@pytest.mark.parametrize("state", WAITING)
def test_with_a_retention_it_is_completed_with_its_result(
    queue: Queue, link: Link, raw: redis.Redis, state: str
) -> None:
    put(queue, link, state, retention=KEPT)
    assert done(link, result=b'{"url":1}', retention=KEPT) is Told.ENDED
    assert (field(raw, "state"), field(raw, "result")) == (b"completed", b'{"url":1}')
    assert raw.zrange(keys.completed("mail"), 0, -1, withscores=True) == [(b"t1", NOW + KEPT)]
    assert not raw.exists(keys.pending("mail"), keys.scheduled("mail"), keys.retry("mail"))
    after = codec.decode_task(field(raw, "msg") or b"")
    assert (after.id, after.payload, after.terms.completed_at) == ("t1", b'{"n":1}', NOW)
    assert after.terms.retention == KEPT


def test_to_say_it_again_changes_nothing(queue: Queue, link: Link, raw: redis.Redis) -> None:
    put(queue, link, "retry", retention=KEPT)
    assert done(link, result=b"1", retention=KEPT) is Told.ENDED
    before = snapshot(raw)
    assert done(link, result=b"2", retention=KEPT) is Told.ENDED
    assert snapshot(raw) == before


@pytest.mark.parametrize("state", WAITING)
def test_one_whose_message_is_not_the_one_that_was_read_is_left_alone(
    queue: Queue, link: Link, raw: redis.Redis, state: str
) -> None:
    put(queue, link, state)
    before = snapshot(raw)
    assert done(link, read=b"another") is Told.CHANGED
    assert snapshot(raw) == before


@pytest.mark.parametrize("state", WAITING)
def test_one_that_is_not_listed_is_left_alone(
    queue: Queue, link: Link, raw: redis.Redis, state: str
) -> None:
    put(queue, link, state)
    raw.delete(f"asynq:{{mail}}:{state}")
    before = snapshot(raw)
    assert done(link) is Told.UNLISTED
    assert snapshot(raw) == before


def test_a_dead_one_and_one_in_a_group_cannot_end_so(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    link.execute(tasks.dead_letter("mail", "t1", message("t1"), now=NOW))
    link.execute(tasks.add_to_group("mail", [new("t2", group="g")], now=NOW))
    raw.hset(keys.task("mail", "t3"), "msg", "debris without a state")
    before = snapshot(raw)
    assert [done(link, one) for one in ("t1", "t2", "t3")] == [Told.NOT_SO] * 3
    assert snapshot(raw) == before


def test_nobody_knows_it(link: Link, raw: redis.Redis) -> None:
    assert done(link) is Told.GONE
    assert snapshot(raw) == {}


def test_one_that_runs_is_only_told(queue: Queue, link: Link, raw: redis.Redis) -> None:
    queue.hold("t1")
    before = snapshot(raw)
    assert done(link, result=b"1") is Told.RUNS
    assert done(link, result=b"2") is Told.RUNS, "the first who says so counts"
    assert field(raw, "qd_told") == b"=1"
    raw.hdel(keys.task("mail", "t1"), "qd_told")
    assert changes(before, snapshot(raw)) == {}


ENDINGS = [endings.retry, endings.archive, endings.complete]


@pytest.mark.parametrize("operation", ENDINGS)
def test_its_run_ends_it_as_done_whatever_it_says(
    queue: Queue, link: Link, raw: redis.Redis, operation: Callable[..., Op[list[Fate]]]
) -> None:
    some = queue.hold("t1")
    done(link, result=b"told")
    raw.delete(keys.fetch("mail", OWNER))
    assert heed(link, operation, ending(some[0], is_failure=True)) == [Fate.TOLD]
    assert snapshot(raw) == {
        keys.processed("mail"): b"1",
        keys.processed_on("mail", DAY): b"1",
    }
    assert heed(link, operation, ending(some[0])) == [Fate.GONE]


@pytest.mark.parametrize("operation", ENDINGS)
def test_the_result_that_was_told_is_the_result(
    queue: Queue, link: Link, raw: redis.Redis, operation: Callable[..., Op[list[Fate]]]
) -> None:
    some = queue.hold("t1")
    done(link, result=b"told")
    end = ending(some[0])
    end.result = b"of the handler"
    assert heed(link, operation, end, retention=KEPT) == [Fate.TOLD]
    assert (field(raw, "state"), field(raw, "result")) == (b"completed", b"told")
    assert field(raw, "qd_told") is None
    assert field(raw, "qd_owner") is None
    assert raw.zscore(keys.completed("mail"), "t1") == NOW + KEPT
    assert not raw.exists(keys.active("mail"), keys.lease("mail"))
    assert codec.decode_task(field(raw, "msg") or b"").terms.completed_at == NOW


def test_told_without_a_result_that_of_the_handler_is_kept(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    some = queue.hold("t1")
    done(link)
    end = ending(some[0])
    end.result = b"of the handler"
    assert heed(link, endings.complete, end, retention=KEPT) == [Fate.TOLD]
    assert field(raw, "result") == b"of the handler"


def test_an_empty_result_is_a_result(queue: Queue, link: Link, raw: redis.Redis) -> None:
    some = queue.hold("t1")
    done(link, result=b"")
    assert heed(link, endings.retry, ending(some[0]), retention=KEPT) == [Fate.TOLD]
    assert field(raw, "result") == b""


@pytest.mark.parametrize("operation", ENDINGS)
def test_those_of_a_batch_that_were_not_told_end_as_ever(
    queue: Queue, link: Link, raw: redis.Redis, operation: Callable[..., Op[list[Fate]]]
) -> None:
    some = queue.hold("t1", "t2", "t3", "t4", "t5")
    done(link, "t2")
    done(link, "t4")
    raw.delete(keys.task("mail", "t3"))
    ended = [ending(one) for one in some]
    fates = [Fate.OK, Fate.TOLD, Fate.GONE, Fate.TOLD, Fate.OK]
    assert heed(link, operation, *ended) == fates
    after = {"retry": b"retry", "archive": b"archived", "complete": b"completed"}
    name = operation.__name__
    assert [field(raw, "state", one) for one in ("t1", "t2", "t4", "t5")] == [
        after[name], None, None, after[name],
    ]  # fmt: skip
    # t3 is nobody's, and stays listed until somebody looks.
    assert raw.lrange(keys.active("mail"), 0, -1) == [b"t3"]


@pytest.mark.parametrize("operation", ENDINGS)
def test_a_batch_of_which_none_was_told_ends_as_without_looking(
    queue: Queue, link: Link, raw: redis.Redis, operation: Callable[..., Op[list[Fate]]]
) -> None:
    some = queue.hold("t1", "t2")
    ended = [ending(one, is_failure=True) for one in some]
    before = snapshot(raw)
    assert heed(link, operation, *ended) == [Fate.OK, Fate.OK]
    heeded = changes(before, snapshot(raw))
    raw.flushall()
    queue.hold("t1", "t2")
    before = snapshot(raw)
    link.execute(operation("mail", OWNER, ended, day=DAY, now=NOW))
    assert changes(before, snapshot(raw)) == heeded


@pytest.mark.parametrize("operation", ENDINGS)
def test_nobody_else_ends_what_was_told(
    queue: Queue, link: Link, raw: redis.Redis, operation: Callable[..., Op[list[Fate]]]
) -> None:
    some = queue.hold("t1")
    done(link)
    before = snapshot(raw)
    assert heed(link, operation, ending(some[0]), owner="worker-2") == [Fate.STALE]
    stale = Ending(Held("t1", some[0].low - 9, some[0].low - 1))
    assert heed(link, operation, stale) == [Fate.STALE]
    raw.delete(keys.active("mail"))
    assert heed(link, operation, ending(some[0])) == [Fate.STALE]
    assert changes(before, snapshot(raw)).keys() <= {keys.active("mail")}


def test_what_was_told_to_a_process_that_died_is_not_lost(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    some = queue.hold("t1")
    done(link, result=b"told")
    link.execute(endings.requeue("mail", OWNER, some, now_ns=NOW_NS))
    queue.take(owner="worker-2", nonce="again")
    end = ending(some[0])
    assert heed(link, endings.retry, end, retention=KEPT, owner="worker-2") == [Fate.TOLD]
    assert field(raw, "result") == b"told"


def test_told_again_while_it_waits_it_ends_with_what_was_told_first(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    some = queue.hold("t1")
    raw.hset(keys.task("mail", "t1"), "msg", message("t1", retention=KEPT))
    done(link, result=b"first")
    link.execute(endings.requeue("mail", OWNER, some, now_ns=NOW_NS))
    assert done(link, result=b"second", retention=KEPT) is Told.ENDED
    assert field(raw, "result") == b"first"
    assert field(raw, "qd_told") is None


def test_one_that_is_brought_back_from_the_dead_is_not_told(
    queue: Queue, link: Link, raw: redis.Redis
) -> None:
    some = queue.hold("t1")
    done(link)
    # Not by a worker that knows of polls.
    link.execute(endings.archive("mail", OWNER, [ending(some[0])], day=DAY, now=NOW))
    source = Container("mail", TaskState.ARCHIVED)
    link.execute(inspect_tasks.run(source, [Rewrite("t1")], now_ns=NOW_NS))
    assert field(raw, "state") == b"pending"
    assert field(raw, "qd_told") is None


@pytest.mark.parametrize("is_failure", [False, True])
def test_a_look_that_ends_well_acquits_the_task_of_deaths(
    queue: Queue, link: Link, raw: redis.Redis, is_failure: bool
) -> None:
    some = queue.hold("t1")
    said = {"qd_deaths": 1, "qd_spared": 1, "qd_cause": "killed"}
    raw.hset(keys.task("mail", "t1"), mapping=said)  # type: ignore[arg-type]
    heed(link, endings.retry, ending(some[0], is_failure=is_failure))
    assert [field(raw, name) is not None for name in said] == [is_failure] * 3


@pytest.mark.parametrize("operation", ENDINGS)
def test_a_key_of_another_type_leaves_everything_untouched(
    queue: Queue, link: Link, raw: redis.Redis, operation: Callable[..., Op[list[Fate]]]
) -> None:
    some = queue.hold("t1", "t2")
    done(link, "t1")
    plain = operation("mail", OWNER, [ending(one) for one in some], day=DAY, now=NOW)
    op = polls.heed(plain, "mail", [Terms()] * 2, day=DAY, now=NOW)
    checked = {str(key) for key in op.keys}
    for key in sorted(one for one in checked if "processed" not in one and "failed" not in one):
        copy = raw.dump(key)
        raw.delete(key)
        raw.set(key, "something else")
        before = snapshot(raw)
        with pytest.raises(BrokerRefused, match="WRONGTYPE"):
            link.execute(op)
        assert snapshot(raw) == before
        raw.delete(key)
        if copy is not None:
            raw.restore(key, 0, copy)  # type: ignore[arg-type]
    assert link.execute(op) == [Fate.TOLD, Fate.OK]


@pytest.mark.parametrize("state", WAITING)
def test_to_say_so_is_refused_where_a_key_has_another_type(
    queue: Queue, link: Link, raw: redis.Redis, state: str
) -> None:
    put(queue, link, state)
    for key in (keys.pending("mail"), keys.scheduled("mail"), keys.retry("mail"), keys.completed("mail")):  # fmt: skip
        copy = raw.dump(key)
        raw.delete(key)
        raw.set(key, "something else")
        before = snapshot(raw)
        with pytest.raises(BrokerRefused, match="WRONGTYPE"):
            done(link)
        assert snapshot(raw) == before
        raw.delete(key)
        if copy is not None:
            raw.restore(key, 0, copy)  # type: ignore[arg-type]
    assert done(link) is Told.ENDED


def test_a_full_server_is_no_obstacle(queue: Queue, link: Link, server: RedisServer) -> None:
    some = queue.hold("t1", "t2")
    put_back = queue.hold("t3")
    link.execute(endings.requeue("mail", OWNER, put_back, now_ns=NOW_NS))
    with server.configured(maxmemory="1"):
        assert done(link, "t1") is Told.RUNS
        assert done(link, "t3") is Told.ENDED
        assert heed(link, endings.retry, *map(ending, some)) == [Fate.TOLD, Fate.OK]


def test_the_state_of_a_task_can_be_asked(queue: Queue, link: Link) -> None:
    queue.hold("t1")
    assert link.execute(polls.state("mail", "t1")) == "active"
    assert link.execute(polls.state("mail", "t2")) == ""
