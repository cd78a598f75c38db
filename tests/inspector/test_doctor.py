"""The store check: every kind of damage is found and mended, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from qd.broker.link import Link
from qd.errors import QueueNotFound
from qd.inspector.doctor.doctor import Doctor, Mended
from qd.inspector.doctor.finding import RULES
from qd.protocol import keys
from qd.protocol.message import ServerInfo
from qd.protocol.op import Op
from qd.protocol.ops import presence
from tests.inspector.conftest import Clock
from tests.inspector.damage import (
    DAMAGES,
    JUNK,
    LOCK,
    SET_ID,
    Damage,
    full_archive,
    hash_only,
    staged,
)
from tests.inspector.stored import NOW, Store


@pytest.fixture
def doctor(link: Link, clock: Clock) -> Doctor:
    return Doctor(link, clock=clock, between=0.0)


def sound(store: Store) -> None:
    """Tasks in every state that are as they should be, locks, groups, a staged set, an old archive."""
    for state in ("pending", "active", "scheduled", "retry", "archived", "completed"):
        store.put(f"ok-{state}", state, unique_key=f"{LOCK}-{state}")
    store.put("ok-group", "aggregating", group="all")
    store.put("ok-lock", "aggregating", group="all", unique_key=f"{LOCK}-g", lock_in_hash=False)
    store.put("ok-nameless", "aggregating", group="all")
    store.raw.hdel(store.key("ok-nameless"), "group")
    store.put("ok-unreadable", "archived", message=JUNK)
    set_key = keys.aggregation_set("mail", "all", "s1")
    store.put("ok-staged", "aggregating", group="staged")
    store.raw.rename(keys.group("mail", "staged"), set_key)
    store.raw.srem(keys.groups("mail"), "staged")
    store.raw.hset(store.key("ok-staged"), "group", "all")
    store.raw.zadd(keys.aggregation_sets("mail"), {set_key: NOW + 60})
    store.raw.set(keys.processed("mail"), 5)
    store.raw.set(keys.processed_on("mail", "2026-01-01"), 5, ex=1000)
    store.raw.set(keys.paused("mail"), NOW)
    store.raw.delete(keys.paused("mail"))


def test_a_sound_store_has_no_findings(doctor: Doctor, store: Store) -> None:
    sound(store)
    before = store.dump()
    report = doctor.look()
    assert report.findings == []
    assert (report.tasks, report.queues) == (11, 1)
    assert store.dump() == before


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.name)
def test_damage_is_found_and_mended_and_then_there_is_nothing_left_to_do(
    doctor: Doctor, store: Store, damage: Damage, record_property: Callable[[str, int], None]
) -> None:
    damage.plant(store)
    planted = store.dump()
    record_property("doctor, kinds of damage planted", 1)
    found = doctor.look().findings
    assert store.dump() == planted
    assert damage.rule in {one.rule for one in found}
    assert {result for _, result in doctor.mend(found)} == {Mended.REPAIRED}
    assert damage.after(store)
    mended = store.dump()
    assert doctor.look().findings == []
    assert {result for _, result in doctor.mend(found)} == {Mended.CHANGED}
    assert store.dump() == mended
    record_property("doctor, kinds of damage found and repaired", 1)


def test_every_rule_has_damage_that_shows_it() -> None:
    assert {one.rule for one in DAMAGES} == set(RULES) - {"unknown-key"}


def test_one_damage_after_the_other_is_mended_and_sound_tasks_stay(
    doctor: Doctor, store: Store
) -> None:
    sound(store)
    before = store.dump()
    # The one with ten thousand tasks comes last: each look goes through all that there is.
    for damage in sorted(DAMAGES, key=lambda one: one.plant is full_archive):
        if damage.name.startswith(("a lock that is", "a group that is", "a container")):
            continue
        damage.plant(store)
        doctor.mend(doctor.look().findings)
    after = store.dump()
    kept = [key for key in before if b"ok-" in key]
    assert {key: after.get(key) for key in kept} == {key: before[key] for key in kept}
    assert doctor.look().findings == []


MOVED: dict[str, tuple[Callable[[Store], object], Callable[[Store], object]]] = {
    "an id whose task comes after all": (
        lambda s: s.list_as("x", "pending", lease=None),
        lambda s: s.raw.hset(s.key("x"), mapping={"msg": b"\x0a\x01x", "state": "pending"}),
    ),
    "a task that somebody runs again": (
        lambda s: hash_only(s, "active"),
        lambda s: (
            s.raw.hset(s.key("x"), "state", "pending"),
            s.raw.lpush(keys.pending("mail"), "x"),
        ),
    ),
    "an active task whose lease comes back": (
        lambda s: s.put("x", "active", lease=None),
        lambda s: s.raw.zadd(keys.lease("mail"), {"x": NOW + 15}),
    ),
    "a message that is replaced": (
        lambda s: s.put("x", "retry", message=JUNK),
        lambda s: s.raw.hset(s.key("x"), "msg", JUNK + b"!"),
    ),
    "a lock that another task takes": (
        lambda s: s.raw.set(LOCK, "x"),
        lambda s: s.raw.set(LOCK, "y"),
    ),
    "a lock whose holder comes after all": (
        lambda s: s.raw.set(LOCK, "x"),
        lambda s: s.put("x", "pending", unique_key=LOCK),
    ),
    "a container of another type that is deleted": (
        lambda s: s.raw.set(keys.retry("mail"), "?"),
        lambda s: s.raw.delete(keys.retry("mail")),
    ),
    "a counter that is set right": (
        lambda s: s.raw.set(keys.failed("mail"), "many"),
        lambda s: s.raw.set(keys.failed("mail"), "7"),
    ),
    "a staged set that is taken up again": (
        lambda s: staged(s, deadline=NOW - 500),
        lambda s: s.raw.zadd(
            keys.aggregation_sets("mail"), {keys.aggregation_set("mail", "team", SET_ID): NOW + 9}
        ),
    ),
    "a deleted queue that gets a task": (
        lambda s: s.raw.set(keys.processed("old"), 5),
        lambda s: s.raw.lpush(keys.pending("old"), "x"),
    ),
}


@pytest.mark.parametrize("case", MOVED)
def test_what_has_changed_since_it_was_seen_is_left_alone(
    doctor: Doctor, store: Store, case: str
) -> None:
    plant, move = MOVED[case]
    plant(store)
    found = doctor.look().findings
    assert found
    move(store)
    moved = store.dump()
    assert [result for _, result in doctor.mend(found)] == [Mended.CHANGED] * len(found)
    assert store.dump() == moved


class _Late:
    """A link on which a task is put into its list just after the first closer look."""

    def __init__(self, link: Link, store: Store) -> None:
        self._link = link
        self._store = store
        self.looks = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

    def execute(self, op: Op[Any]) -> Any:
        found = self._link.execute(op)
        if op.name == "doctor_facts":
            self.looks += 1
            if self.looks == 1:
                self._store.raw.lpush(keys.pending("mail"), "x")
        return found


def test_what_only_the_first_look_sees_is_not_reported(
    link: Link, clock: Clock, store: Store
) -> None:
    """As a task on its way in might look, if several commands brought it."""
    hash_only(store, "pending")
    late = _Late(link, store)
    assert Doctor(late, clock=clock, between=0.0).look().findings == []
    assert late.looks == 2


def test_a_live_worker_restores_its_lease_itself(doctor: Doctor, store: Store, link: Link) -> None:
    store.put("x", "active", lease=None, fields={"qd_owner": "w1"})
    info = ServerInfo("host", 1, "w1", 1, (("mail", 1),), False, "active", NOW * 10**9, 1)
    link.execute_many(presence.write_server(info, [], now=NOW))
    assert doctor.look().findings == []
    link.execute_many(presence.clear_server("host", 1, "w1"))
    assert [one.rule for one in doctor.look().findings] == ["unleased"]


def test_a_key_of_another_kind_is_told_of_and_stays(doctor: Doctor, store: Store) -> None:
    store.raw.set("asynq:{mail}:mystery", "?")
    found = doctor.look().findings
    assert [(one.rule, one.repair) for one in found] == [("unknown-key", None)]
    assert doctor.mend(found) == [(found[0], Mended.LEFT)]
    assert store.raw.get("asynq:{mail}:mystery") == b"?"


def test_only_the_queues_that_were_named_are_looked_at(doctor: Doctor, store: Store) -> None:
    hash_only(store, "pending")
    other = Store(store.raw, "other")
    other.put("y", "active", lease=None)
    store.raw.srem(keys.QUEUES, "mail")
    assert {one.queue for one in doctor.look(["mail"]).findings} == {"mail"}
    assert {one.queue for one in doctor.look().findings} == {"mail", "other"}
    with pytest.raises(QueueNotFound):
        doctor.look(["nope"])


def test_only_queues_with_the_prefix_are_looked_at(link: Link, clock: Clock, store: Store) -> None:
    hash_only(store, "pending")
    Store(store.raw, "prod_mail").put("y", "active", lease=None)
    found = Doctor(link, prefix="prod_", clock=clock, between=0.0).look().findings
    assert {one.queue for one in found} == {"prod_mail"}


def test_damage_in_the_middle_of_many_tasks_is_found(doctor: Doctor, store: Store) -> None:
    """More than a slice of each: the walk goes on where it stopped, and large messages end a slice."""
    for start in range(0, 1200, 400):
        for n in range(start, start + 400):
            for state in ("pending", "archived"):
                store.put(f"{state}-{n}", state, at=NOW - n)
    store.put("large-1", "retry", payload=b"x" * 5_000_000)
    store.put("large-2", "retry", payload=b"x" * 5_000_000)
    for state in ("pending", "archived"):
        store.raw.delete(store.key(f"{state}-700"))
        store.raw.hset(store.key(f"{state}-800"), "msg", JUNK)
        store.raw.persist(store.key(f"{state}-900"))
    store.raw.lrem(keys.pending("mail"), 1, "pending-1000")
    store.raw.zrem(keys.archived("mail"), "archived-1000")
    found = doctor.look()
    assert sorted((one.rule, one.name) for one in found.findings) == [
        ("ghost", "archived-700"),
        ("ghost", "pending-700"),
        ("undecodable", "pending-800"),
        ("unlisted", "archived-1000"),
        ("unlisted", "pending-1000"),
    ]
    assert found.tasks == 2400
