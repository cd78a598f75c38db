"""Look at tasks: one, a page, or all of them while others move them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from qd.errors import BrokerRefused, QueueNotFound, TaskNotFound, UsageError, WrongState
from qd.inspector.inspector import Inspector
from qd.inspector.views import TaskView
from qd.protocol import keys
from qd.protocol.state import TaskState
from tests.inspector.stored import NOW, Store

PRESENT = datetime.fromtimestamp(NOW, UTC)
SETS = [TaskState.SCHEDULED, TaskState.RETRY, TaskState.ARCHIVED, TaskState.COMPLETED]
LISTS = [TaskState.PENDING, TaskState.ACTIVE]


def _ids(views: list[TaskView]) -> list[str]:
    return [one.id for one in views]


def test_a_task_shows_all_that_is_known_of_it(inspector: Inspector, store: Store) -> None:
    store.put(
        "t1",
        "retry",
        at=NOW + 60,
        payload=b'{"to":"a"}',
        headers=(("trace", "00-abc"),),
        retried=2,
        error="boom",
        last_failed_at=NOW - 10,
        timeout=30,
        deadline=NOW + 3600,
        retention=120,
        unique_key="asynq:{mail}:unique:x",
        fields={"result": b"half", "qd_deaths": 1, "qd_cause": "signal 9"},
    )
    view = inspector.tasks.get("mail", "t1")
    assert view == TaskView(
        id="t1",
        queue="mail",
        state="retry",
        type="email:send",
        payload=b'{"to":"a"}',
        headers=(("trace", "00-abc"),),
        max_retry=25,
        retried=2,
        error="boom",
        last_failed_at=PRESENT - timedelta(seconds=10),
        timeout=30,
        deadline=PRESENT + timedelta(hours=1),
        retention=120,
        unique_key="asynq:{mail}:unique:x",
        next_at=PRESENT + timedelta(minutes=1),
        result=b"half",
        deaths=1,
        cause="signal 9",
    )


def test_the_moments_of_a_task_depend_on_its_state(inspector: Inspector, store: Store) -> None:
    for state in SETS:
        store.put(state, state, at=NOW + 60)
    store.put("pending", "pending")
    soon = PRESENT + timedelta(minutes=1)
    get = inspector.tasks.get
    assert get("mail", "scheduled").next_at == get("mail", "retry").next_at == soon
    assert get("mail", "archived").archived_at == soon
    assert get("mail", "completed").expires_at == soon
    assert get("mail", "archived").next_at is None
    assert get("mail", "pending").pending_since == PRESENT - timedelta(seconds=5)


@pytest.mark.parametrize(
    ("lease", "orphaned"), [(NOW + 1, False), (NOW, True), (NOW - 60, True), (None, True)]
)
def test_an_active_task_is_orphaned_when_nobody_renews_its_lease(
    inspector: Inspector, store: Store, lease: float | None, orphaned: bool
) -> None:
    store.put("t1", "active", lease=lease, fields={"qd_owner": "w1"})
    for view in (
        inspector.tasks.get("mail", "t1"),
        *inspector.tasks.list("mail", TaskState.ACTIVE),
    ):
        assert view.orphaned is orphaned
        assert view.owner == "w1"
        assert view.lease_until == (lease and datetime.fromtimestamp(lease, UTC))


def test_a_task_is_found_in_whatever_queue_it_is(inspector: Inspector, store: Store) -> None:
    other = Store(store.raw, "bulk")
    store.put("here", "pending")
    other.put("there", "archived")
    assert inspector.tasks.find("here").queue == "mail"
    assert inspector.tasks.find("there").queue == "bulk"
    with pytest.raises(TaskNotFound, match="in any of 2 queues"):
        inspector.tasks.find("nowhere")
    store.put("there", "retry")
    with pytest.raises(WrongState, match="bulk, mail"):
        inspector.tasks.find("there")


@pytest.mark.parametrize("state", LISTS)
def test_lists_are_shown_from_the_one_that_came_first(
    inspector: Inspector, store: Store, state: TaskState
) -> None:
    for n in range(7):
        store.put(f"t{n}", state)
    found = inspector.tasks.list("mail", state, offset=2, limit=3)
    assert _ids(found) == ["t2", "t3", "t4"]
    assert _ids(inspector.tasks.list("mail", state, offset=6)) == ["t6"]
    assert inspector.tasks.list("mail", state, offset=7) == []
    assert inspector.tasks.count("mail", state) == 7


@pytest.mark.parametrize("state", SETS)
def test_sets_are_shown_by_their_time(inspector: Inspector, store: Store, state: TaskState) -> None:
    for n in range(7):
        store.put(f"t{n}", state, at=NOW - n)
    found = inspector.tasks.list("mail", state, offset=2, limit=3)
    assert _ids(found) == ["t4", "t3", "t2"]
    assert _ids(inspector.tasks.list("mail", state, offset=6)) == ["t0"]
    assert inspector.tasks.count("mail", state) == 7


def test_aggregating_tasks_are_shown_group_by_group(inspector: Inspector, store: Store) -> None:
    for group in ("b", "a"):
        for n in range(3):
            store.put(f"{group}{n}", "aggregating", group=group, at=NOW + n)
    state = TaskState.AGGREGATING
    assert _ids(inspector.tasks.list("mail", state)) == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert _ids(inspector.tasks.list("mail", state, offset=2, limit=3)) == ["a2", "b0", "b1"]
    assert _ids(inspector.tasks.list("mail", state, offset=4)) == ["b1", "b2"]
    assert _ids(inspector.tasks.list("mail", state, group="b", limit=2)) == ["b0", "b1"]
    assert inspector.tasks.list("mail", state, group="none") == []
    assert inspector.tasks.count("mail", state) == 6
    assert inspector.tasks.count("mail", state, group="a") == 3
    assert {one.group for one in inspector.tasks.iterate("mail", state)} == {"a", "b"}


@pytest.mark.parametrize("state", [*LISTS, *SETS])
def test_what_is_broken_is_shown_by_its_id(
    inspector: Inspector, store: Store, state: TaskState
) -> None:
    store.put("good", state)
    store.put("unreadable", state, message=b"\xff\xff")
    store.list_as("ghost", state, lease=NOW)
    store.list_as("odd", state, lease=NOW)
    store.raw.set(store.key("odd"), "no hash")
    found = {one.id: one for one in inspector.tasks.list("mail", state)}
    assert set(found) == {"good", "unreadable", "ghost", "odd"}
    assert found["unreadable"].undecodable
    assert found["unreadable"].raw == b"\xff\xff"
    assert found["unreadable"].as_dict()["raw_base64"] == "//8="
    assert found["ghost"].missing
    assert found["odd"].missing
    assert {one.state for one in found.values()} == {state.value}
    assert len(list(inspector.tasks.iterate("mail", state))) == 4


def test_pages_of_an_unknown_queue_are_refused_at_once(inspector: Inspector, store: Store) -> None:
    for look in (inspector.tasks.list, inspector.tasks.iterate, inspector.tasks.count):
        with pytest.raises(QueueNotFound, match='Did you mean "mail"'):
            look("mails", TaskState.PENDING)


def test_pages_that_cannot_be_meant_are_refused(inspector: Inspector, store: Store) -> None:
    tasks, state = inspector.tasks, TaskState.PENDING
    with pytest.raises(UsageError, match="must not be negative"):
        tasks.list("mail", state, offset=-1)
    with pytest.raises(UsageError, match="must not be negative"):
        tasks.list("mail", state, limit=-1)
    with pytest.raises(UsageError, match="batch of 0"):
        tasks.iterate("mail", state, batch=0)
    with pytest.raises(UsageError, match="pending tasks are in no group"):
        tasks.list("mail", state, group="g")


def test_a_container_of_a_wrong_type_is_named(inspector: Inspector, store: Store) -> None:
    store.raw.set(keys.retry("mail"), "text")
    with pytest.raises(BrokerRefused):
        inspector.tasks.list("mail", TaskState.RETRY)


@pytest.mark.parametrize("state", [TaskState.PENDING, TaskState.ARCHIVED])
def test_all_tasks_are_met_once_in_order(
    inspector: Inspector, store: Store, state: TaskState
) -> None:
    """Many of them with the same score, whose order is that of their bytes."""
    names = sorted(f"t{n:04}" for n in range(1203))
    for name in names:
        store.put(name, state)
    assert _ids(list(inspector.tasks.iterate("mail", state, batch=100))) == names
    assert _ids(list(inspector.tasks.iterate("mail", state))) == names


@pytest.mark.parametrize("state", [TaskState.PENDING, TaskState.ARCHIVED])
def test_none_is_missed_while_what_was_met_is_deleted(
    inspector: Inspector, store: Store, state: TaskState
) -> None:
    """Every second one goes, as soon as its batch was read."""
    names = [f"t{n:04}" for n in range(400)]
    for name in names:
        store.put(name, state)
    met = []
    for view in inspector.tasks.iterate("mail", state, batch=10):
        met.append(view.id)
        if int(view.id[1:]) % 2:
            inspector.tasks.delete("mail", view.id)
    assert met == names
    assert inspector.tasks.count("mail", state) == 200


def test_none_is_missed_while_workers_take_and_put_back(inspector: Inspector, store: Store) -> None:
    names = [f"t{n:03}" for n in range(200)]
    for name in names:
        store.put(name, "pending")
    met: list[str] = []
    walk = inspector.tasks.iterate("mail", TaskState.PENDING, batch=10)
    met.extend(next(walk).id for _ in range(50))
    # Thirty are taken, five come back to the head of the line, ten new ones come in behind.
    for _ in range(30):
        store.raw.rpop(keys.pending("mail"))
    for name in names[:30]:
        store.raw.hset(store.key(name), "state", "active")
    for name in names[4::-1]:
        store.raw.hset(store.key(name), "state", "pending")
        store.raw.rpush(keys.pending("mail"), name)
    for n in range(10):
        store.put(f"new{n}", "pending")
    met += [view.id for view in walk]
    assert [name for name in met if not name.startswith("new")] == names


def test_none_is_missed_when_all_of_the_last_page_have_been_taken(
    inspector: Inspector, store: Store
) -> None:
    names = [f"t{n:03}" for n in range(60)]
    for name in names:
        store.put(name, "pending")
    walk = inspector.tasks.iterate("mail", TaskState.PENDING, batch=10)
    met = [next(walk).id for _ in range(10)]
    for name in names[:20]:
        store.raw.rpop(keys.pending("mail"))
        store.raw.hset(store.key(name), "state", "active")
    met += [view.id for view in walk]
    assert met == [*names[:10], *names[20:]]


def test_a_task_that_went_round_to_the_back_is_no_mark(inspector: Inspector, store: Store) -> None:
    names = [f"t{n:02}" for n in range(30)]
    for name in names:
        store.put(name, "pending")
    walk = inspector.tasks.iterate("mail", TaskState.PENDING, batch=10)
    met = [next(walk).id for _ in range(10)]
    store.raw.lrem(keys.pending("mail"), 0, "t09")
    store.raw.lpush(keys.pending("mail"), "t09")
    met += [view.id for view in walk]
    assert met == names


def test_a_walk_ends_although_tasks_keep_coming(inspector: Inspector, store: Store) -> None:
    """As with dead letters that are run again, fail again and are archived again behind the others."""
    for n in range(20):
        store.put(f"t{n}", "archived", at=NOW)
    met = 0
    for view in inspector.tasks.iterate("mail", TaskState.ARCHIVED, batch=5):
        met += 1
        store.raw.zadd(keys.archived("mail"), {view.id: NOW + met})
    assert met == 20


def test_large_payloads_are_read_in_smaller_pages(inspector: Inspector, store: Store) -> None:
    big = b"x" * (1024 * 1024)
    for n in range(12):
        store.put(f"p{n:02}", "pending", payload=big)
        store.put(f"a{n:02}", "archived", payload=big)
    store.raw.config_resetstat()
    assert len(inspector.tasks.list("mail", TaskState.PENDING)) == 12
    assert len(list(inspector.tasks.iterate("mail", TaskState.ARCHIVED))) == 12
    calls: Any = store.raw.info("commandstats")
    assert calls["cmdstat_evalsha"]["calls"] >= 6


def test_json_of_a_task_is_stable(inspector: Inspector, store: Store) -> None:
    store.put("t1", "scheduled", at=NOW + 1.5, headers=(("k", "v"),), deadline=2**62)
    shown = inspector.tasks.get("mail", "t1").as_dict()
    assert json.loads(json.dumps(shown)) == {
        "id": "t1",
        "type": "email:send",
        "queue": "mail",
        "state": "scheduled",
        "payload": {"n": 1},
        "payload_text": None,
        "payload_base64": None,
        "headers": {"k": "v"},
        "max_retry": 25,
        "retried": 0,
        "error": "",
        "last_failed_at": None,
        "timeout": 0,
        "deadline": "9999-12-31T23:59:59.999999Z",
        "retention": 0,
        "completed_at": None,
        "group": "",
        "unique_key": "",
        "next_at": "2026-01-01T00:00:01.500000Z",
        "archived_at": None,
        "expires_at": None,
        "pending_since": None,
        "result": None,
        "result_text": None,
        "result_base64": None,
        "lease_until": None,
        "orphaned": False,
        "owner": "",
        "deaths": 0,
        "cause": "",
        "waits_for": [],
        "progress": None,
        "missing": False,
        "undecodable": False,
        "raw_base64": None,
    }


@pytest.mark.parametrize(
    ("payload", "field", "value"),
    [
        (b"[1,null]", "payload", [1, None]),
        (b"plain text", "payload_text", "plain text"),
        (b"NaN", "payload_text", "NaN"),
        (b"[" * 5000, "payload_text", "[" * 5000),
        (b"\xff\x00", "payload_base64", "/wA="),
    ],
)
def test_a_payload_is_json_or_text_or_base64(
    inspector: Inspector, store: Store, payload: bytes, field: str, value: object
) -> None:
    store.put("t1", "pending", payload=payload)
    shown = inspector.tasks.get("mail", "t1").as_dict()
    fields = ("payload", "payload_text", "payload_base64")
    assert {one: shown[one] for one in fields if shown[one] is not None} == {field: value}


def test_looking_changes_nothing(inspector: Inspector, raw: redis.Redis, store: Store) -> None:
    for state in TaskState:
        store.put(state, state, group="g" if state == "aggregating" else "")
    before = store.dump()
    for state in TaskState:
        inspector.tasks.get("mail", state)
        inspector.tasks.list("mail", state)
        list(inspector.tasks.iterate("mail", state))
    inspector.queues.all(memory=True)
    inspector.groups.list("mail")
    inspector.stats.overview()
    assert store.dump() == before
