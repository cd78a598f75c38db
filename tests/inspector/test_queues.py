"""Queues: sizes, counters, latency, history, pause and resume, groups, totals."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pytest

from qd.errors import QueueNotFound, UsageError, WrongState
from qd.inspector.inspector import Inspector
from qd.inspector.views import QueueView
from qd.protocol import keys
from qd.protocol.state import TaskState
from tests.inspector.conftest import Clock
from tests.inspector.stored import NOW, Store


def _fill(store: Store) -> None:
    for count, state in enumerate(("pending", "active", "scheduled", "retry"), start=1):
        for n in range(count):
            store.put(f"{state}{n}", state)
    for count, state in enumerate(("archived", "completed"), start=5):
        for n in range(count):
            store.put(f"{state}{n}", state)
    for group in ("a", "b"):
        for n in range(4):
            store.put(f"{group}{n}", "aggregating", group=group)


def test_a_queue_shows_its_sizes_and_counters(inspector: Inspector, store: Store) -> None:
    _fill(store)
    store.put("lost", "active", lease=NOW)
    store.put("unleased", "active", lease=None)
    store.raw.mset(
        {
            keys.processed("mail"): 100,
            keys.failed("mail"): 9,
            keys.processed_on("mail", "2026-01-01"): 10,
            keys.failed_on("mail", "2026-01-01"): 1,
            keys.processed_on("mail", "2025-12-31"): 77,
            keys.paused("mail"): NOW - 60,
        }
    )
    assert inspector.queues.info("mail") == QueueView(
        name="mail",
        size=1 + 4 + 3 + 4 + 5 + 6 + 8,
        pending=1,
        active=4,
        scheduled=3,
        retry=4,
        archived=5,
        completed=6,
        aggregating=8,
        groups=2,
        orphaned=2,
        paused=True,
        paused_at=datetime.fromtimestamp(NOW - 60, UTC),
        paused_by="",
        processed=10,
        failed=1,
        processed_total=100,
        failed_total=9,
        pressure="",
        refused=0,
        dropped=0,
        latency=5.0,
        memory=None,
        problems=(),
        as_of=datetime.fromtimestamp(NOW, UTC),
    )


def test_an_empty_queue_shows_zeros(inspector: Inspector, store: Store) -> None:
    view = inspector.queues.info("mail", memory=True)
    assert (view.size, view.latency, view.memory, view.paused) == (0, 0.0, 0, False)


def test_latency_is_unknown_for_a_task_that_asynq_put_back(
    inspector: Inspector, store: Store
) -> None:
    store.put("t1", "pending")
    store.raw.hdel(store.key("t1"), "pending_since")
    assert inspector.queues.info("mail").latency == 0.0


def test_memory_is_near_what_redis_says(inspector: Inspector, store: Store) -> None:
    for n in range(100):
        store.put(f"t{n}", "archived", payload=b"x" * 1000)
        store.put(f"g{n}", "aggregating", group=f"g{n % 10}", payload=b"x" * 1000)
    real = sum(store.raw.memory_usage(key) for key in store.raw.keys("asynq:{mail}:*"))
    estimate = inspector.queues.info("mail", memory=True).memory
    assert estimate == pytest.approx(real, rel=0.1)


def test_ids_without_a_hash_do_not_break_any_number(inspector: Inspector, store: Store) -> None:
    for state in ("pending", "active", "scheduled", "retry", "archived", "completed"):
        store.list_as(f"ghost-{state}", state, lease=NOW)
    store.raw.sadd(keys.groups("mail"), "empty")
    view = inspector.queues.info("mail", memory=True)
    assert (view.size, view.aggregating, view.latency) == (6, 0, 0.0)
    assert view.memory is not None
    assert view.memory > 0


def test_a_key_of_a_wrong_type_is_named_and_hides_nothing_else(
    inspector: Inspector, store: Store
) -> None:
    store.put("t1", "archived")
    store.raw.set(keys.retry("mail"), "text")
    store.raw.set(keys.groups("mail"), "text")
    store.raw.set(keys.processed("mail"), "many")
    view = inspector.queues.info("mail", memory=True)
    assert (view.archived, view.retry, view.groups, view.processed_total) == (1, 0, 0, 0)
    assert view.problems == (
        "asynq:{mail}:retry is a string, not a zset",
        "asynq:{mail}:groups is a string, not a set",
    )


def test_all_queues_are_shown_by_name(inspector: Inspector, store: Store) -> None:
    assert [one.name for one in inspector.queues.all()] == ["mail"]
    Store(store.raw, "bulk").put("t1", "pending")
    assert inspector.queues.names() == ["bulk", "mail"]
    views = inspector.queues.all(memory=True)
    assert [(one.name, one.pending) for one in views] == [("bulk", 1), ("mail", 0)]


def test_no_queues_is_an_answer(inspector: Inspector) -> None:
    assert inspector.queues.names() == []
    assert inspector.queues.all(memory=True) == []
    assert inspector.stats.overview().totals["size"] == 0


def test_history_goes_back_from_the_present_utc_day(
    inspector: Inspector, store: Store, clock: Clock
) -> None:
    clock.now = NOW + 86_399
    store.raw.set(keys.processed_on("mail", "2026-01-01"), 8)
    store.raw.set(keys.failed_on("mail", "2026-01-01"), 2)
    store.raw.set(keys.processed_on("mail", "2025-12-30"), 5)
    days = inspector.queues.history("mail", 3)
    assert [(one.day, one.processed, one.failed, one.error_rate) for one in days] == [
        (date(2026, 1, 1), 8, 2, 0.25),
        (date(2025, 12, 31), 0, 0, None),
        (date(2025, 12, 30), 5, 0, 0.0),
    ]
    assert days[0].as_dict() == {
        "day": "2026-01-01",
        "processed": 8,
        "failed": 2,
        "error_rate": 0.25,
    }
    assert len(inspector.queues.history("mail", 90)) == 90


@pytest.mark.parametrize("days", [0, -1, 91])
def test_a_history_that_is_not_kept_is_refused(
    inspector: Inspector, store: Store, days: int
) -> None:
    with pytest.raises(UsageError, match="1 to 90"):
        inspector.queues.history("mail", days)


def test_a_queue_is_paused_once_and_resumed_once(inspector: Inspector, store: Store) -> None:
    inspector.queues.pause("mail")
    assert store.raw.get(keys.paused("mail")) == str(NOW).encode()
    with pytest.raises(WrongState, match="already paused"):
        inspector.queues.pause("mail")
    inspector.queues.resume("mail")
    assert not store.raw.exists(keys.paused("mail"))
    with pytest.raises(WrongState, match="is not paused"):
        inspector.queues.resume("mail")


def test_every_step_on_an_unknown_queue_proposes_the_near_name(
    inspector: Inspector, store: Store
) -> None:
    queues = inspector.queues
    before = store.dump()
    for step in (
        lambda: queues.info("mall"),
        lambda: queues.history("mall", 1),
        lambda: queues.pause("mall"),
        lambda: queues.resume("mall"),
        lambda: queues.purge("mall", TaskState.PENDING),
        lambda: queues.remove("mall"),
        lambda: inspector.groups.list("mall"),
    ):
        with pytest.raises(QueueNotFound, match='Did you mean "mail"'):
            step()
    assert store.dump() == before


def test_a_purge_deletes_one_state_only(inspector: Inspector, store: Store) -> None:
    _fill(store)
    assert inspector.queues.purge("mail", TaskState.ARCHIVED) == 5
    assert inspector.queues.purge("mail", TaskState.AGGREGATING) == 8
    assert inspector.queues.info("mail").size == 1 + 2 + 3 + 4 + 6
    with pytest.raises(WrongState):
        inspector.queues.purge("mail", TaskState.ACTIVE)
    store.check()


def test_groups_are_shown_with_what_waits_in_them(inspector: Inspector, store: Store) -> None:
    _fill(store)
    store.raw.sadd(keys.groups("mail"), "empty")
    assert [one.as_dict() for one in inspector.groups.list("mail")] == [
        {"name": "a", "size": 4},
        {"name": "b", "size": 4},
        {"name": "empty", "size": 0},
    ]


def test_thousands_of_groups_are_counted_in_pieces(inspector: Inspector, store: Store) -> None:
    with store.raw.pipeline(transaction=False) as pipe:
        for n in range(3000):
            pipe.zadd(keys.group("mail", f"g{n}"), {"t": NOW})
            pipe.sadd(keys.groups("mail"), f"g{n}")
        pipe.execute()
    view = inspector.queues.info("mail")
    assert (view.groups, view.aggregating) == (3000, 3000)


def test_the_overview_sums_all_queues_and_describes_redis(
    inspector: Inspector, store: Store
) -> None:
    _fill(store)
    _fill(Store(store.raw, "bulk"))
    view = inspector.stats.overview()
    assert view.totals["size"] == 2 * (1 + 2 + 3 + 4 + 5 + 6 + 8)
    assert view.totals["aggregating"] == 16
    assert view.redis.version[0].isdigit()
    assert view.redis.memory > 0
    assert view.redis.clients >= 1
    assert view.redis.eviction == "noeviction"
    shown = json.loads(json.dumps(view.as_dict()))
    assert [one["name"] for one in shown["queues"]] == ["bulk", "mail"]
    assert shown["queues"][0]["as_of"] == "2026-01-01T00:00:00Z"
    assert shown["queues"][0]["problems"] == []
