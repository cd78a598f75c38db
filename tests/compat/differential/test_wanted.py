"""Each wanted difference: it is there, it is explained by its own entry, and qd is the better one."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.compat.differential.asynq_side import AsynqSide
from tests.compat.differential.pair import Pair
from tests.compat.differential.qd_side import QdSide
from tests.compat.differential.scenarios import DIFFERENCES
from tests.compat.differential.store import PREFIX, Store, content
from tests.compat.differential.wanted import WANTED

pytestmark = pytest.mark.compat


def test_every_entry_has_a_case() -> None:
    assert [entry.name for entry in WANTED] == list(DIFFERENCES)
    assert all(entry.reason.endswith(".") for entry in WANTED)


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_difference_is_there_and_its_entry_explains_it(both: Pair, name: str) -> None:
    ops, others = DIFFERENCES[name]
    both.explained.clear()
    assert len(both.run(ops)) == len(ops)
    assert set(both.explained) == {name} | others


class Sides:
    """Both sides with a store each, to bring about what no sequence can."""

    def __init__(self, both: Pair) -> None:
        now = int(time.time())
        self.now = now
        self.asynq, self.qd, self.stores = both.open(now)
        self.asynq_raw, self.qd_raw = (store.client for store in self.stores)

    def each(self) -> list[tuple[AsynqSide | QdSide, Store, Any]]:
        sides: list[AsynqSide | QdSide] = [self.asynq, self.qd]
        return [(side, store, store.client) for side, store in zip(sides, self.stores, strict=True)]

    def both_do(self, *ops: dict[str, Any]) -> list[tuple[object, object]]:
        return [(self.asynq.apply(op), self.qd.apply(op)) for op in ops]


@pytest.fixture
def sides(both: Pair) -> Sides:
    return Sides(both)


ENQUEUE: dict[str, Any] = {"op": "enqueue", "id": "t1", "type": "a"}
DEQUEUE = {"op": "dequeue"}
DONE = {"op": "end", "tasks": {"t1": 0}, "how": "ok"}
ARCHIVE = {"op": "end", "tasks": {"t1": 0}, "how": "archive"}


def test_the_archive_keeps_ten_thousand_and_asynq_one_less(sides: Sides) -> None:
    sizes = []
    for side, _, client in sides.each():
        client.zadd(PREFIX + "archived", {f"old-{n}": sides.now - 60 for n in range(10_000)})
        for op in (ENQUEUE, DEQUEUE, ARCHIVE):
            side.apply(op)
        sizes.append(client.zcard(PREFIX + "archived"))
        assert client.zscore(PREFIX + "archived", "t1") == sides.now
    assert sizes == [9_999, 10_000]


def test_qd_trims_any_number_and_asynq_breaks_at_eight_thousand(sides: Sides) -> None:
    states, answers = [], []
    months = 91 * 86_400
    for side, store, client in sides.each():
        client.zadd(PREFIX + "archived", {f"old-{n}": sides.now - months for n in range(8_500)})
        for op in (ENQUEUE, DEQUEUE):
            side.apply(op)
        answers.append(side.apply(ARCHIVE))
        states.append(content(store.view(), "t:t1")["state"])
    assert answers == [["refused"], ["ok"]]
    assert states == ["active", "archived"]
    assert sides.qd_raw.zcard(PREFIX + "archived") == 1


def test_a_task_that_lost_its_lease_can_be_ended_and_asynq_leaves_its_hash(sides: Sides) -> None:
    sides.both_do(ENQUEUE, DEQUEUE)
    for _, _, client in sides.each():
        client.zrem(PREFIX + "lease", "t1")
    assert sides.both_do(DONE) == [(["not-found"], ["ok"])]
    assert sides.asynq_raw.exists(PREFIX + "t:t1")
    assert not sides.qd_raw.exists(PREFIX + "t:t1")
    assert not sides.qd_raw.exists(PREFIX + "active")


def test_a_worker_that_lost_its_task_cannot_end_the_run_of_another(sides: Sides) -> None:
    """asynq looks only for the id: the second run is acknowledged by the worker of the first."""
    sides.both_do(ENQUEUE, DEQUEUE)
    for _, store, _ in sides.each():
        store.age(130)
    late = sides.qd
    sides.both_do({"op": "recover"})
    # qd has put it back already, asynq into retry; the other worker takes it in either case.
    sides.asynq.apply({"op": "run", "id": "t1"})
    other = late.second_worker()
    assert (sides.asynq.apply(DEQUEUE), other.apply(DEQUEUE)) == (["t1"], ["t1"])
    assert (sides.asynq.apply(DONE), late.apply(DONE)) == (["ok"], ["not-found"])
    assert not sides.asynq_raw.exists(PREFIX + "active")
    assert sides.qd_raw.lrange(PREFIX + "active", 0, -1) == [b"t1"]
    assert other.apply(DONE) == ["ok"]


def test_a_lost_task_is_not_revived_by_its_worker(sides: Sides) -> None:
    """After a FLUSHALL asynq's worker writes a task back that producers may have enqueued again."""
    sides.both_do(ENQUEUE, DEQUEUE)
    for _, store, _ in sides.each():
        store.lose("t1")
    failed = {"op": "end", "tasks": {"t1": 0}, "how": "retry"}
    assert sides.both_do(failed) == [(["ok"], ["not-found"])]
    assert sides.asynq_raw.exists(PREFIX + "t:t1")
    assert not sides.qd_raw.exists(PREFIX + "t:t1")
    sides.stores[1].age(130)
    sides.qd.apply({"op": "recover"})
    assert not sides.qd_raw.exists(PREFIX + "active")


def test_a_result_is_written_only_for_a_task_of_ones_own(sides: Sides) -> None:
    """asynq writes it for a task that is gone as well, and leaves a hash that is no task."""
    answers = sides.both_do({"op": "result", "id": "t1", "result": "x"})
    assert answers == [("ok", "not-found")]
    assert sides.asynq_raw.hkeys(PREFIX + "t:t1") == [b"result"]
    assert not sides.qd_raw.exists(PREFIX + "t:t1")


def test_no_step_is_left_half_done_by_a_key_of_a_wrong_type(sides: Sides) -> None:
    sides.both_do(ENQUEUE, DEQUEUE)
    for _, _, client in sides.each():
        client.set(PREFIX + "retry", "not a zset")
    failed = {"op": "end", "tasks": {"t1": 0}, "how": "retry"}
    assert sides.asynq.apply(failed) == ["refused"]
    assert sides.qd.apply(failed) == "refused"
    assert not sides.asynq_raw.exists(PREFIX + "active"), "asynq has lost the task"
    assert sides.qd_raw.lrange(PREFIX + "active", 0, -1) == [b"t1"]


def test_an_active_task_without_a_lease_is_never_recovered_by_asynq(sides: Sides) -> None:
    sides.both_do(ENQUEUE, DEQUEUE)
    for _, store, client in sides.each():
        client.zrem(PREFIX + "lease", "t1")
        store.age(700)
    sides.asynq.apply({"op": "recover"})
    assert sides.asynq_raw.lrange(PREFIX + "active", 0, -1) == [b"t1"]
    sides.qd.apply({"op": "recover", "rounds": 2})
    assert not sides.qd_raw.exists(PREFIX + "active")
