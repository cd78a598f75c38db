"""Run, archive, delete, change and cancel one task: what asynq allows, with asynq's effects."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qd.errors import BrokerRefused, QueueNotFound, TaskNotFound, WrongState
from qd.inspector.inspector import Inspector
from qd.protocol import keys
from qd.protocol.state import TaskState
from tests.inspector.stored import NOW, Store
from tests.support.wait import eventually

RUNNABLE = ["scheduled", "retry", "archived", "completed", "aggregating"]
VERBS = ["run", "archive", "delete"]


def _put(store: Store, state: str) -> bytes:
    return store.put("t1", state, group="g" if state == "aggregating" else "")


def _verb(inspector: Inspector, verb: str) -> Callable[[str, str], None]:
    act: Callable[[str, str], None] = getattr(inspector.tasks, verb)
    return act


@pytest.mark.parametrize("state", RUNNABLE)
def test_a_task_that_is_run_becomes_the_last_in_the_line(
    inspector: Inspector, store: Store, state: str
) -> None:
    store.put("first", "pending")
    message = _put(store, state)
    inspector.tasks.run("mail", "t1")
    assert store.ids("pending") == ["t1", "first"]
    found = store.hash("t1")
    assert (found["state"], found["msg"]) == (b"pending", message)
    assert int(found["pending_since"]) == NOW * 10**9
    assert not store.raw.exists(keys.groups("mail"))
    store.check()


@pytest.mark.parametrize("state", ["pending", "scheduled", "retry", "completed", "aggregating"])
def test_a_task_that_is_archived_keeps_its_message(
    inspector: Inspector, store: Store, state: str
) -> None:
    message = _put(store, state)
    inspector.tasks.archive("mail", "t1")
    assert store.raw.zscore(keys.archived("mail"), "t1") == NOW
    assert store.hash("t1")["msg"] == message
    assert "pending_since" not in store.hash("t1")
    assert not store.raw.exists(keys.groups("mail"))
    store.check()


@pytest.mark.parametrize("state", ["pending", *RUNNABLE])
def test_a_task_that_is_deleted_leaves_nothing(
    inspector: Inspector, store: Store, state: str
) -> None:
    lock = "asynq:{mail}:unique:email:send:abc"
    store.put("t1", state, unique_key=lock, group="g" if state == "aggregating" else "")
    inspector.tasks.delete("mail", "t1")
    assert store.raw.keys("*") == [keys.QUEUES.encode()]


@pytest.mark.parametrize(
    ("verb", "state", "reason"),
    [
        ("run", "pending", "already pending"),
        ("run", "active", "already running"),
        ("archive", "active", "is running and cannot be archived"),
        ("archive", "archived", "already archived"),
        ("delete", "active", "is running and cannot be deleted"),
    ],
)
def test_what_asynq_refuses_is_refused_and_changes_nothing(
    inspector: Inspector, store: Store, verb: str, state: str, reason: str
) -> None:
    _put(store, state)
    before = store.dump()
    with pytest.raises(WrongState, match=reason):
        _verb(inspector, verb)("mail", "t1")
    assert store.dump() == before


@pytest.mark.parametrize("verb", ["get", *VERBS])
def test_a_wrong_queue_name_is_told_apart_from_a_wrong_id(
    inspector: Inspector, store: Store, verb: str
) -> None:
    store.put("t1", "archived")
    with pytest.raises(QueueNotFound, match='Did you mean "mail"'):
        _verb(inspector, verb)("mial", "t1")
    with pytest.raises(TaskNotFound, match='"t2" in queue "mail"'):
        _verb(inspector, verb)("mail", "t2")


def test_a_lock_that_another_task_holds_survives_a_delete(
    inspector: Inspector, store: Store
) -> None:
    lock = "asynq:{mail}:unique:email:send:abc"
    store.put("t1", "archived", unique_key=lock)
    store.raw.set(lock, "t2")
    inspector.tasks.delete("mail", "t1")
    assert store.raw.get(lock) == b"t2"


def test_a_lock_that_only_the_message_names_is_released(inspector: Inspector, store: Store) -> None:
    """Asynq leaves it out of the hash of a task that was added to a group."""
    lock = "asynq:{mail}:unique:email:send:abc"
    store.put("t1", "aggregating", group="g", unique_key=lock, lock_in_hash=False)
    inspector.tasks.delete("mail", "t1")
    assert not store.raw.exists(lock)


def test_a_group_keeps_its_name_while_it_has_tasks(inspector: Inspector, store: Store) -> None:
    store.put("t1", "aggregating", group="g")
    store.put("t2", "aggregating", group="g")
    inspector.tasks.run("mail", "t1")
    assert store.raw.smembers(keys.groups("mail")) == {b"g"}
    store.check()


def test_run_keeps_retries_and_unknown_fields_unless_asked(
    inspector: Inspector, store: Store
) -> None:
    future = b"\xa2\x06\x03new"
    before = store.put("t1", "archived", retried=25, error="boom", unknown=future)
    inspector.tasks.run("mail", "t1")
    assert store.hash("t1")["msg"] == before
    inspector.tasks.archive("mail", "t1")
    inspector.tasks.run("mail", "t1", reset_retries=True)
    terms = store.message("t1").terms
    assert (terms.retried, terms.max_retry, terms.error) == (0, 25, "boom")
    assert terms.unknown == future


def test_a_poison_task_that_is_run_again_starts_with_a_clean_slate(
    inspector: Inspector, store: Store
) -> None:
    store.put("t1", "archived", fields={"qd_deaths": 2, "qd_cause": "signal 9"})
    view = inspector.tasks.get("mail", "t1")
    assert (view.deaths, view.cause) == (2, "signal 9")
    inspector.tasks.run("mail", "t1")
    assert not {"qd_deaths", "qd_cause"} & set(store.hash("t1"))


def test_an_unreadable_task_cannot_be_run_but_archived_and_deleted(
    inspector: Inspector, store: Store
) -> None:
    store.put("t1", "scheduled", message=b"\xff\xff")
    with pytest.raises(WrongState, match="cannot be read"):
        inspector.tasks.run("mail", "t1")
    inspector.tasks.archive("mail", "t1")
    assert store.ids("archived") == ["t1"]
    inspector.tasks.delete("mail", "t1")
    assert store.raw.keys("*") == [keys.QUEUES.encode()]


@pytest.mark.parametrize("state", ["pending", "scheduled", "retry", "archived", "completed"])
def test_an_id_whose_hash_is_gone_can_be_deleted(
    inspector: Inspector, store: Store, state: str
) -> None:
    store.list_as("ghost", state, lease=None)
    with pytest.raises(TaskNotFound):
        inspector.tasks.run("mail", "ghost")
    inspector.tasks.delete("mail", "ghost")
    assert store.ids(state) == []
    with pytest.raises(TaskNotFound):
        inspector.tasks.delete("mail", "ghost")


@pytest.mark.parametrize("verb", VERBS)
def test_a_task_in_a_staged_set_is_left_to_its_aggregator(
    inspector: Inspector, store: Store, verb: str
) -> None:
    store.put("t1", "aggregating", group="g")
    staged = keys.aggregation_set("mail", "g", "s1")
    store.raw.rename(keys.group("mail", "g"), staged)
    store.raw.srem(keys.groups("mail"), "g")
    store.raw.zadd(keys.aggregation_sets("mail"), {staged: NOW + 120})
    before = store.dump()
    with pytest.raises(WrongState, match="is being aggregated"):
        _verb(inspector, verb)("mail", "t1")
    assert store.dump() == before


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("state", ["pending", "retry"])
def test_a_task_that_is_not_where_it_says_is_left_alone(
    inspector: Inspector, store: Store, verb: str, state: str
) -> None:
    store.put("t1", state)
    store.raw.delete(keys.pending("mail"), keys.retry("mail"))
    before = store.dump()
    with pytest.raises(WrongState):
        _verb(inspector, verb)("mail", "t1")
    assert store.dump() == before


@pytest.mark.parametrize("verb", VERBS)
def test_debris_without_a_state_is_named_as_such(
    inspector: Inspector, store: Store, verb: str
) -> None:
    store.raw.hset(store.key("t1"), "result", "late")
    with pytest.raises(WrongState, match="state '', which does not exist"):
        _verb(inspector, verb)("mail", "t1")


@pytest.mark.parametrize(
    ("verb", "broken"),
    [
        ("run", keys.pending("mail")),
        ("run", keys.groups("mail")),
        ("archive", keys.archived("mail")),
        ("archive", keys.groups("mail")),
        ("delete", keys.groups("mail")),
    ],
)
def test_a_key_of_a_wrong_type_stops_a_step_before_it_changes_anything(
    inspector: Inspector, store: Store, verb: str, broken: str
) -> None:
    store.put("t1", "retry")
    store.raw.set(broken, "text")
    before = store.dump()
    with pytest.raises(BrokerRefused, match="WRONGTYPE"):
        _verb(inspector, verb)("mail", "t1")
    assert store.dump() == before


def test_archiving_into_a_full_archive_deletes_the_oldest_with_its_hash_and_lock(
    inspector: Inspector, store: Store
) -> None:
    lock = "asynq:{mail}:unique:email:send:abc"
    store.put("oldest", "archived", at=NOW - 100, unique_key=lock)
    with store.raw.pipeline(transaction=False) as pipe:
        for n in range(9_999):
            pipe.zadd(keys.archived("mail"), {f"d{n}": NOW - 50})
            pipe.hset(store.key(f"d{n}"), mapping={"msg": "x", "state": "archived"})
        pipe.execute()
    store.put("new", "pending")
    inspector.tasks.archive("mail", "new")
    assert store.raw.zcard(keys.archived("mail")) == 10_000
    assert not store.raw.exists(store.key("oldest"), lock)
    store.check()


def test_archiving_deletes_what_is_older_than_90_days(inspector: Inspector, store: Store) -> None:
    store.put("ancient", "archived", at=NOW - 91 * 86_400)
    store.put("new", "pending")
    inspector.tasks.archive("mail", "new")
    assert store.ids("archived") == ["new"]
    store.check()


def test_an_archive_is_not_trimmed_for_a_task_that_does_not_come(
    inspector: Inspector, store: Store
) -> None:
    store.put("ancient", "archived", at=NOW - 91 * 86_400)
    store.list_as("ghost", "retry", lease=None)
    assert inspector.tasks.archive_many("mail", ["ghost"], state=TaskState.RETRY) == 0
    assert store.ids("archived") == ["ancient"]


def test_a_new_payload_replaces_that_of_a_scheduled_task_only(
    inspector: Inspector, store: Store
) -> None:
    future = b"\xa2\x06\x03new"
    store.put("t1", "scheduled", headers=(("k", "v"),), retention=60, unknown=future)
    inspector.tasks.update_payload("mail", "t1", b'{"n":2}')
    message = store.message("t1")
    assert (message.type, message.id, message.payload) == ("email:send", "t1", b'{"n":2}')
    assert message.terms.headers == (("k", "v"),)
    assert (message.terms.retention, message.terms.unknown) == (60, future)
    for state in ("pending", "active", "retry", "archived", "completed", "aggregating"):
        store.put(state, state, group="g" if state == "aggregating" else "")
        before = store.dump()
        with pytest.raises(WrongState, match="only the payload of a scheduled task"):
            inspector.tasks.update_payload("mail", state, b"{}")
        assert store.dump() == before


def test_a_payload_of_no_task_or_an_unreadable_one_cannot_be_changed(
    inspector: Inspector, store: Store
) -> None:
    store.put("t1", "scheduled", message=b"\xff\xff")
    with pytest.raises(WrongState, match="cannot be read"):
        inspector.tasks.update_payload("mail", "t1", b"{}")
    with pytest.raises(TaskNotFound):
        inspector.tasks.update_payload("mail", "t2", b"{}")


def test_a_cancel_reaches_whoever_listens(inspector: Inspector, store: Store) -> None:
    assert inspector.tasks.cancel("t1") == 0
    with store.raw.pubsub() as listener:
        listener.subscribe(keys.CANCEL_CHANNEL)
        eventually(lambda: listener.get_message(timeout=0.1))
        assert inspector.tasks.cancel("t1") == 1
        heard = eventually(lambda: listener.get_message(timeout=0.1))
    assert heard["data"] == b"t1"
