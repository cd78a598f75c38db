"""Removing a queue leaves nothing behind and loses nothing that comes in meanwhile."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from qd.broker.link import Link
from qd.errors import QueueNotEmpty, WrongState
from qd.inspector.inspector import Inspector
from qd.protocol import keys
from qd.protocol.op import Op
from tests.inspector.conftest import Clock
from tests.inspector.stored import NOW, Store

STATES = ["pending", "scheduled", "retry", "archived", "completed", "aggregating"]


def _leave_debris(store: Store) -> None:
    """What asynq and ended tasks leave: counters, locks, hashes that are listed nowhere, a pause."""
    store.raw.set(keys.processed("mail"), 5)
    store.raw.set(keys.failed_on("mail", "2026-01-01"), 5)
    store.raw.set("asynq:{mail}:unique:email:send:old", "gone", ex=1000)
    store.raw.hset(store.key("leaked"), mapping={"msg": "x", "state": "archived"})
    store.raw.zadd(keys.lease("mail"), {"gone": NOW})
    store.raw.sadd(keys.groups("mail"), "empty")
    store.raw.set(keys.paused("mail"), NOW)


@pytest.mark.parametrize("force", [False, True])
def test_an_empty_queue_is_removed_with_its_debris(
    inspector: Inspector, store: Store, force: bool
) -> None:
    _leave_debris(store)
    assert inspector.queues.remove("mail", force=force) == 0
    assert store.raw.keys("*") == []


@pytest.mark.parametrize("state", [*STATES, "active"])
def test_a_queue_with_any_task_is_refused_without_force(
    inspector: Inspector, store: Store, state: str
) -> None:
    store.put("t1", state, group="g" if state == "aggregating" else "")
    before = store.dump()
    with pytest.raises(QueueNotEmpty, match=f"1 {state}"):
        inspector.queues.remove("mail")
    assert store.dump() == before


def test_tasks_of_a_group_that_no_list_names_count_as_well(
    inspector: Inspector, store: Store
) -> None:
    store.put("t1", "aggregating", group="g")
    store.raw.delete(keys.groups("mail"))
    with pytest.raises(QueueNotEmpty, match="tasks in group g"):
        inspector.queues.remove("mail")
    assert inspector.queues.remove("mail", force=True) == 1
    assert store.raw.keys("*") == []


@pytest.mark.parametrize("count", [2, 1500])
def test_force_removes_tasks_of_all_states(inspector: Inspector, store: Store, count: int) -> None:
    with store.together():
        for state, n in product(STATES, range(count)):
            store.put(
                f"{state}{n}",
                state,
                group=f"g{n % 3}" if state == "aggregating" else "",
                unique_key=f"asynq:{{mail}}:unique:{state}{n}",
            )
    staged = keys.aggregation_set("mail", "g0", "s1")
    store.raw.rename(keys.group("mail", "g0"), staged)
    store.raw.zadd(keys.aggregation_sets("mail"), {staged: NOW + 120})
    _leave_debris(store)
    assert inspector.queues.remove("mail", force=True) == 6 * count
    assert store.raw.keys("*") == []


def test_force_removes_entries_that_contradict_themselves(
    inspector: Inspector, store: Store
) -> None:
    store.put("odd", "retry")
    store.raw.hset(store.key("odd"), "state", "active")
    store.list_as("ghost", "pending", lease=None)
    inspector.queues.remove("mail", force=True)
    assert store.raw.keys("*") == []


@pytest.mark.parametrize("paused", [False, True])
def test_not_even_force_removes_a_queue_under_a_running_task(
    inspector: Inspector, store: Store, paused: bool
) -> None:
    store.put("t1", "active")
    store.put("t2", "pending")
    if paused:
        store.raw.set(keys.paused("mail"), NOW)
    before = store.dump()
    with pytest.raises(WrongState, match="1 of its tasks run"):
        inspector.queues.remove("mail", force=True)
    assert store.dump() == before


def test_other_queues_are_not_touched(inspector: Inspector, store: Store) -> None:
    """Not even those whose names a pattern would match."""
    others = [Store(store.raw, name) for name in ("mail2", "[m]ail", "m*", "mai?")]
    for other in others:
        other.put("t1", "archived", unique_key=f"asynq:{{{other.queue}}}:unique:x")
        other.put("g1", "aggregating", group="g")
        other.raw.hset(other.key("leaked"), mapping={"msg": "x", "state": "archived"})
        other.raw.set(keys.processed(other.queue), 1)
    store.put("t1", "archived")
    before = [len(other.raw.keys("*")) for other in others]
    inspector.queues.remove("mail", force=True)
    assert len(store.raw.keys("*")) == before[0] - 2
    inspector.queues.remove("m*", force=True)
    assert inspector.queues.names() == ["[m]ail", "mai?", "mail2"]
    assert others[0].ids("archived") == others[1].ids("archived") == ["t1"]
    assert store.raw.exists(others[3].key("leaked"))


class _Meddler:
    """A link that lets somebody enqueue just before a certain operation."""

    def __init__(self, link: Link, before: str, store: Store, *, times: int = 1) -> None:
        self._link = link
        self._before = before
        self._store = store
        self._left = times

    def execute(self, op: Op[Any]) -> Any:
        if op.name == self._before and self._left:
            self._left -= 1
            with self._store.together():
                for n in range(1100):
                    self._store.put(f"new{self._left}-{n}", "pending", unique_key="")
        return self._link.execute(op)

    def execute_many(self, ops: Any) -> Any:
        return self._link.execute_many(ops)

    def close(self) -> None:
        self._link.close()


@pytest.mark.parametrize("moment", ["sweep_queue", "SREM"])
def test_a_task_that_comes_in_after_the_removal_survives_it(
    link: Link, store: Store, clock: Clock, moment: str
) -> None:
    store.put("t1", "archived")
    inspector = Inspector(_Meddler(link, moment, store), clock=clock)
    assert inspector.queues.remove("mail", force=True) == 1
    assert inspector.queues.names() == ["mail"]
    assert len(store.ids("pending")) == 1100
    store.check()


def test_a_queue_that_is_filled_while_it_is_emptied_is_emptied_again(
    link: Link, store: Store, clock: Clock
) -> None:
    inspector = Inspector(_Meddler(link, "scan_keys", store, times=3), clock=clock)
    assert inspector.queues.remove("mail", force=True) == 3300
    assert store.raw.keys("*") == []


def test_a_queue_that_is_never_empty_is_given_up_and_resumed(
    link: Link, store: Store, clock: Clock
) -> None:
    inspector = Inspector(_Meddler(link, "scan_keys", store, times=99), clock=clock)
    with pytest.raises(QueueNotEmpty, match="filled faster than it is emptied"):
        inspector.queues.remove("mail", force=True)
    assert not store.raw.exists(keys.paused("mail"))
