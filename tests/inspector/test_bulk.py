"""Run, archive and delete many tasks: in pieces, and only those that are still where they were."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from qd.errors import QueueNotFound, WrongState
from qd.inspector.inspector import Inspector
from qd.policy.poll import Polling
from qd.protocol import keys, polling
from qd.protocol.state import TaskState
from tests.inspector.stored import NOW, Store

MANY = 20_000


_COPY = """
local model = redis.call('HGETALL', KEYS[1])
for n = 0, ARGV[2] - 1 do
  redis.call('HSET', ARGV[1] .. string.format('t%05d', n), unpack(model))
end
redis.call('DEL', KEYS[1])
"""


def _fill(store: Store, state: TaskState, count: int, group: str = "") -> list[str]:
    """Many tasks of one state with the same time, with tiny hashes."""
    names = [f"t{n:05}" for n in range(count)]
    message = store.put("model", state, group=group)
    fields: Any = {"msg": message, "state": state.value}
    if group:
        fields["group"] = group
    with store.raw.pipeline(transaction=False) as pipe:
        pipe.delete(store.key("model"))
        pipe.hset(store.key("model"), mapping=fields)
        pipe.eval(_COPY, 1, store.key("model"), store.key(""), count)
        for start in range(0, count, 1000):
            some = names[start : start + 1000]
            if state is TaskState.PENDING:
                pipe.lpush(keys.pending(store.queue), *some)
            elif group:
                pipe.zadd(keys.group(store.queue, group), dict.fromkeys(some, NOW))
            else:
                pipe.zadd(f"asynq:{{{store.queue}}}:{state.value}", dict.fromkeys(some, NOW))
        pipe.lrem(keys.pending(store.queue), 0, "model")
        if state is not TaskState.PENDING:
            key = keys.group(store.queue, group) if group else f"asynq:{{mail}}:{state.value}"
            pipe.zrem(key, "model")
        pipe.execute()
    return names


def _scripts(store: Store) -> int:
    stats: Any = store.raw.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("eval", "evalsha"))


@pytest.mark.parametrize("state", [TaskState.ARCHIVED, TaskState.SCHEDULED])
def test_twenty_thousand_are_run_in_pieces_and_in_order(
    inspector: Inspector, store: Store, state: TaskState
) -> None:
    names = _fill(store, state, MANY)
    store.raw.config_resetstat()
    assert inspector.tasks.run_all("mail", state) == MANY
    assert _scripts(store) >= MANY // 500
    assert store.ids("pending")[::-1] == names
    assert store.hash("t00007")["pending_since"] == str(NOW * 10**9).encode()
    store.check()


def test_twenty_thousand_are_archived_and_no_hash_outlives_the_trimming(
    inspector: Inspector, store: Store
) -> None:
    _fill(store, TaskState.PENDING, MANY)
    assert inspector.tasks.archive_all("mail", TaskState.PENDING) == MANY
    assert store.raw.zcard(keys.archived("mail")) == 10_000
    store.check()


@pytest.mark.parametrize("state", [TaskState.PENDING, TaskState.COMPLETED, TaskState.AGGREGATING])
def test_twenty_thousand_are_deleted_without_a_trace(
    inspector: Inspector, store: Store, state: TaskState
) -> None:
    _fill(store, state, MANY, "g" if state is TaskState.AGGREGATING else "")
    assert inspector.tasks.delete_all("mail", state) == MANY
    assert store.raw.keys("*") == [keys.QUEUES.encode()]


def test_thousands_of_named_ids_are_moved_out_of_a_list(inspector: Inspector, store: Store) -> None:
    names = _fill(store, TaskState.PENDING, 3000)
    assert inspector.tasks.archive_many("mail", names[::3], state=TaskState.PENDING) == 1000
    assert inspector.tasks.delete_many("mail", names[1::3], state=TaskState.PENDING) == 1000
    assert store.ids("pending")[::-1] == names[2::3]
    store.check()


def test_dead_letters_that_are_requeued_get_their_retries_back(
    inspector: Inspector, store: Store
) -> None:
    names = [f"t{n:04}" for n in range(700)]
    for name in names:
        store.put(name, "archived", retried=25, fields={"qd_deaths": 2, "qd_cause": "x"})
    assert inspector.tasks.run_many("mail", names, state=TaskState.ARCHIVED) == 700
    assert store.ids("pending")[::-1] == names
    assert store.message("t0003").terms.retried == 0
    assert not {"qd_deaths", "qd_cause"} & set(store.hash("t0003"))
    store.check()


@pytest.mark.parametrize("keep_retries", [True, False])
def test_a_poll_that_is_requeued_begins_anew_unless_retries_are_kept(
    inspector: Inspector, store: Store, keep_retries: bool
) -> None:
    began = polling.write(Polling(9, 1000.0, 2800.0))
    store.put("t1", "archived", headers=(("a", "1"), (polling.HEADER, began)))
    inspector.tasks.run_many("mail", ["t1"], state=TaskState.ARCHIVED, keep_retries=keep_retries)
    headers = dict(store.message("t1").terms.headers)
    assert headers == ({"a": "1", polling.HEADER: began} if keep_retries else {"a": "1"})


def test_retries_stay_used_up_when_that_is_wanted(inspector: Inspector, store: Store) -> None:
    before = store.put("t1", "archived", retried=25)
    assert inspector.tasks.run_many("mail", ["t1"], state=TaskState.ARCHIVED, keep_retries=True)
    assert store.hash("t1")["msg"] == before
    store.put("t2", "archived", retried=25)
    inspector.tasks.run_all("mail", TaskState.ARCHIVED)
    assert store.message("t2").terms.retried == 25


@pytest.mark.parametrize("keep_retries", [True, False])
def test_only_what_is_still_in_the_state_is_touched(
    inspector: Inspector, store: Store, keep_retries: bool
) -> None:
    for state in TaskState:
        store.put(state, state, group="g" if state == "aggregating" else "")
    ids = [*TaskState, "nowhere", "archived"]
    before = {one: store.hash(one) for one in TaskState if one != "archived"}
    done = inspector.tasks.run_many(
        "mail", ids, state=TaskState.ARCHIVED, keep_retries=keep_retries
    )
    assert done == 1
    assert {one: store.hash(one) for one in before} == before
    store.check()


def test_what_cannot_be_read_is_left_out_of_a_requeue(inspector: Inspector, store: Store) -> None:
    store.put("good", "archived")
    store.put("bad", "archived", message=b"\xff\xff")
    assert inspector.tasks.run_many("mail", ["good", "bad"], state=TaskState.ARCHIVED) == 1
    assert store.ids("archived") == ["bad"]


def test_large_messages_are_sent_in_smaller_pieces(inspector: Inspector, store: Store) -> None:
    names = [f"t{n}" for n in range(10)]
    for name in names:
        store.put(name, "archived", retried=25, payload=b"x" * (1024 * 1024))
    assert inspector.tasks.run_many("mail", names, state=TaskState.ARCHIVED) == 10
    assert store.message("t9").terms.retried == 0


def test_aggregating_tasks_are_found_in_their_groups(inspector: Inspector, store: Store) -> None:
    lock = "asynq:{mail}:unique:email:send:abc"
    store.put("a1", "aggregating", group="a", unique_key=lock, lock_in_hash=False)
    store.put("b1", "aggregating", group="b")
    store.put("b2", "aggregating", group="b")
    state = TaskState.AGGREGATING
    assert inspector.tasks.delete_many("mail", ["a1", "b1", "other"], state=state) == 2
    assert not store.raw.exists(lock)
    assert store.raw.smembers(keys.groups("mail")) == {b"b"}
    store.put("a1", "aggregating", group="a")
    assert inspector.tasks.run_all("mail", state, group="a") == 1
    assert inspector.tasks.archive_all("mail", state) == 1
    assert store.ids("archived") == ["b2"]
    store.check()


@pytest.mark.parametrize("state", [TaskState.PENDING, TaskState.ARCHIVED])
def test_all_locks_are_released_when_all_are_deleted(
    inspector: Inspector, store: Store, state: TaskState
) -> None:
    for n in range(3):
        store.put(f"t{n}", state, unique_key=f"asynq:{{mail}}:unique:{n}")
    assert inspector.tasks.delete_all("mail", state) == 3
    assert store.raw.keys("*") == [keys.QUEUES.encode()]


@pytest.mark.parametrize(("verb", "counted"), [("run", 3), ("archive", 3), ("delete", 4)])
def test_broken_entries_neither_stop_nor_are_revived(
    inspector: Inspector, store: Store, verb: str, counted: int
) -> None:
    """A listed id without a hash leaves the list; one that says to be elsewhere is left alone."""
    for n in range(3):
        store.put(f"t{n}", "retry")
    store.list_as("ghost", "retry", lease=None)
    store.put("elsewhere", "active")
    store.list_as("elsewhere", "retry", lease=None)
    act = getattr(inspector.tasks, f"{verb}_all")
    assert act("mail", TaskState.RETRY) == counted
    assert store.ids("retry") == ["elsewhere"]
    assert store.ids("active") == ["elsewhere"]
    assert not store.raw.exists(store.key("ghost"))


def test_a_thousand_broken_entries_do_not_hide_the_good_ones_behind(
    inspector: Inspector, store: Store
) -> None:
    for n in range(1200):
        store.put(f"a{n:04}", "active")
        store.list_as(f"a{n:04}", "pending", lease=None)
    for n in range(20):
        store.put(f"t{n}", "pending")
    assert inspector.tasks.delete_all("mail", TaskState.PENDING) == 20
    assert len(store.ids("pending")) == 1200


@pytest.mark.parametrize(
    ("verb", "states"),
    [
        ("run", [TaskState.PENDING, TaskState.ACTIVE]),
        ("archive", [TaskState.ACTIVE, TaskState.ARCHIVED]),
        ("delete", [TaskState.ACTIVE]),
    ],
)
def test_states_that_cannot_be_meant_are_refused(
    inspector: Inspector, store: Store, verb: str, states: list[TaskState]
) -> None:
    many: Callable[..., int] = getattr(inspector.tasks, f"{verb}_many")
    everything: Callable[..., int] = getattr(inspector.tasks, f"{verb}_all")
    for state in states:
        store.put(state, state)
        before = store.dump()
        with pytest.raises(WrongState):
            many("mail", [state.value], state=state)
        with pytest.raises(WrongState):
            everything("mail", state)
        assert store.dump() == before


def test_bulk_steps_on_an_unknown_queue_are_refused(inspector: Inspector, store: Store) -> None:
    ids: Sequence[str] = ["t1"]
    for verb in ("run", "archive", "delete"):
        with pytest.raises(QueueNotFound):
            getattr(inspector.tasks, f"{verb}_many")("nail", ids, state=TaskState.RETRY)
        with pytest.raises(QueueNotFound):
            getattr(inspector.tasks, f"{verb}_all")("nail", TaskState.RETRY)
