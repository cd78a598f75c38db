"""
Every kind of damage that the doctor knows: how it comes about, what it is called, what becomes of it.

Queue `mail` is sound apart from it; see `stored.Store` for how its tasks are written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qd.protocol import codec, keys
from qd.protocol.constants import ARCHIVE_MAX
from qd.protocol.message import TaskMessage, Terms
from tests.inspector.stored import NOW, Store

JUNK = b"\xff\xff no message"
SET_ID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
LOCK = "asynq:{mail}:unique:email:send:0123"


@dataclass(frozen=True)
class Damage:
    """`plant` does it, `rule` finds it (as often as `count`), `after` is true once it is mended."""

    name: str
    rule: str
    plant: Callable[[Store], object]
    after: Callable[[Store], object]
    count: int = 1


def message(task_id: str, **terms: object) -> bytes:
    said = Terms(queue="mail", max_retry=25, **terms)  # type: ignore[arg-type]
    return codec.encode_task(TaskMessage("email:send", b"{}", task_id, said))


def hash_only(
    store: Store, state: str, *, fields: dict[str, str] | None = None, **terms: object
) -> None:
    """A task that no container lists."""
    said = {"msg": message("x", **terms), "state": state, **(fields or {})}
    store.raw.hset(store.key("x"), mapping=said)


def state_of(store: Store) -> str:
    return store.hash("x")["state"].decode()


def gone(store: Store) -> bool:
    everywhere = [
        one for state in ("pending", "active", "archived", "completed") for one in store.ids(state)
    ]
    return not store.raw.exists(store.key("x")) and "x" not in everywhere


def listed(state: str, group: str = "") -> Callable[[Store], bool]:
    """The task says that it is in *state*, and that is where it is; nowhere else."""

    def check(store: Store) -> bool:
        store.check()
        leased = store.raw.zscore(keys.lease("mail"), "x") is not None
        return (
            "x" in store.ids(state, group)
            and state_of(store) == state
            and leased == (state == "active")
            and store.raw.ttl(store.key("x")) == -1
        )

    return check


def aside(name: str) -> Callable[[Store], bool]:
    """The key has gone to one side, with what it held."""

    def check(store: Store) -> bool:
        return not store.raw.exists(f"asynq:{{mail}}:{name}") and bool(
            store.raw.keys(f"qd:{{mail}}:set-aside:*{name}")
        )

    return check


def in_two(store: Store) -> None:
    store.put("x", "archived")
    store.raw.lpush(keys.pending("mail"), "x")


def staged(store: Store, *, deadline: float | None, key: str = f"team:{SET_ID}") -> None:
    """A staged set of 700 tasks; no `deadline`: it is not listed."""
    for n in range(700):
        store.put(f"m{n}", "aggregating", group="team", at=NOW + n)
    store.raw.rename(keys.group("mail", "team"), f"asynq:{{mail}}:g:{key}")
    store.raw.delete(keys.groups("mail"))
    if deadline is not None:
        store.raw.zadd(keys.aggregation_sets("mail"), {f"asynq:{{mail}}:g:{key}": deadline})


def regrouped(store: Store) -> bool:
    store.check()
    return len(store.ids("aggregating", "team")) == 700 and not store.raw.exists(
        keys.aggregation_sets("mail"), keys.aggregation_set("mail", "team", SET_ID)
    )


def leave_queue(store: Store) -> None:
    """What deleting a queue with asynq leaves: a completed task without its set, a lock, counters."""
    said = Terms(queue="old", retention=10_000, completed_at=NOW)
    kept = codec.encode_task(TaskMessage("email:send", b"{}", "x", said))
    store.raw.hset(keys.task("old", "x"), mapping={"msg": kept, "state": "completed"})
    store.raw.set(keys.processed("old"), 5)
    store.raw.set(keys.failed_on("old", "2026-01-01"), 5)
    store.raw.set(keys.paused("old"), NOW)


def unregister(store: Store) -> None:
    store.put("x", "pending")
    store.raw.srem(keys.QUEUES, "mail")


def full_archive(store: Store) -> None:
    """An archive at its limit, and a task that it dropped without deleting it."""
    hash_only(store, "archived", last_failed_at=NOW - 10)
    for start in range(0, ARCHIVE_MAX - 1, 1000):
        with store.raw.pipeline(transaction=False) as pipe:
            for n in range(start, min(start + 1000, ARCHIVE_MAX - 1)):
                pipe.hset(
                    store.key(f"d{n}"), mapping={"msg": message(f"d{n}"), "state": "archived"}
                )
                pipe.zadd(keys.archived("mail"), {f"d{n}": NOW})
            pipe.execute()


def long_archive(store: Store) -> bool:
    return gone(store) and len(store.ids("archived")) == ARCHIVE_MAX - 1


DAMAGES = (
    Damage(
        "an id pending whose task is gone",
        "ghost",
        lambda s: s.list_as("x", "pending", lease=None),
        gone,
    ),
    Damage(
        "an id active whose task is gone",
        "ghost",
        lambda s: s.list_as("x", "active", lease=NOW - 500),
        gone,
    ),
    *(
        Damage(
            f"an id {state} whose task is gone",
            "ghost",
            lambda s, state=state: s.list_as("x", state, lease=None),  # type: ignore[misc]
            gone,
        )
        for state in ("scheduled", "retry", "archived", "completed")
    ),
    Damage(
        "an id in a group whose task is gone",
        "ghost",
        lambda s: (
            s.put("y", "aggregating", group="team"),
            s.list_as("x", "aggregating", group="team", lease=None),
        ),
        lambda s: s.ids("aggregating", "team") == ["y"],
    ),
    Damage(
        "what a dequeue of asynq makes of an id without a task",
        "empty",
        lambda s: (
            s.list_as("x", "active", lease=NOW - 500),
            s.raw.hset(s.key("x"), "state", "active"),
        ),
        gone,
    ),
    Damage(
        "a result that was written after the task had gone",
        "empty",
        lambda s: s.raw.hset(s.key("x"), "result", "late"),
        gone,
    ),
    *(
        Damage(
            f"a message nobody can read, {state}",
            "undecodable",
            lambda s, state=state: s.put(
                "x",
                state,
                message=JUNK,
                group="team" if state == "aggregating" else "",
                lease=NOW - 60,
            ),  # type: ignore[misc]
            lambda s: (
                "x" in s.ids("archived")
                and state_of(s) == "archived"
                and s.hash("x")["msg"] == JUNK
            ),
        )
        for state in ("pending", "active", "scheduled", "retry", "completed")
    ),
    Damage(
        "an active task without a lease",
        "unleased",
        lambda s: s.put("x", "active", lease=None),
        lambda s: listed("active")(s) and s.raw.zscore(keys.lease("mail"), "x") == NOW + 30,
    ),
    Damage(
        "a lease without a task",
        "stray-lease",
        lambda s: s.raw.zadd(keys.lease("mail"), {"x": NOW}),
        lambda s: s.raw.zscore(keys.lease("mail"), "x") is None,
    ),
    Damage(
        "a lease of a pending task",
        "stray-lease",
        lambda s: (s.put("x", "pending"), s.raw.zadd(keys.lease("mail"), {"x": NOW})),
        listed("pending"),
    ),
    Damage(
        "a pending task in no list",
        "unlisted",
        lambda s: hash_only(s, "pending"),
        listed("pending"),
    ),
    Damage("a retry in no set", "unlisted", lambda s: hash_only(s, "retry"), listed("retry")),
    Damage(
        "a scheduled task in no set",
        "unlisted",
        lambda s: hash_only(s, "scheduled"),
        listed("archived"),
    ),
    Damage(
        "an active task in no list",
        "unlisted",
        lambda s: hash_only(s, "active"),
        listed("archived"),
    ),
    Damage(
        "an active task in no list, with a lease",
        "unlisted",
        lambda s: (hash_only(s, "active"), s.raw.zadd(keys.lease("mail"), {"x": NOW + 9})),
        listed("active"),
    ),
    Damage(
        "a task with a state that does not exist",
        "unlisted",
        lambda s: hash_only(s, "sleeping"),
        listed("archived"),
    ),
    Damage(
        "an aggregating task in no group",
        "unlisted",
        lambda s: hash_only(s, "aggregating", fields={"group": "team"}),
        listed("aggregating", "team"),
    ),
    Damage(
        "an aggregating task whose group is not known",
        "unlisted",
        lambda s: hash_only(s, "aggregating"),
        listed("pending"),
    ),
    Damage(
        "an archived task that the archive has forgotten",
        "unlisted",
        lambda s: hash_only(s, "archived", last_failed_at=NOW - 10),
        lambda s: listed("archived")(s) and s.raw.zscore(keys.archived("mail"), "x") == NOW - 10,
    ),
    Damage(
        "an archived task that a full archive has dropped", "unlisted", full_archive, long_archive
    ),
    Damage(
        "a completed task that its set has forgotten",
        "unlisted",
        lambda s: hash_only(s, "completed", completed_at=NOW - 10, retention=100),
        lambda s: listed("completed")(s) and s.raw.zscore(keys.completed("mail"), "x") == NOW + 90,
    ),
    Damage(
        "a completed task whose retention is over, in no set",
        "unlisted",
        lambda s: hash_only(s, "completed", completed_at=NOW - 10, retention=5),
        gone,
    ),
    Damage(
        "an archived task that says it is active",
        "misplaced",
        lambda s: (s.put("x", "archived"), s.raw.hset(s.key("x"), "state", "active")),
        listed("archived"),
    ),
    Damage(
        "an active task that says it is pending",
        "misplaced",
        lambda s: (s.put("x", "active", lease=None), s.raw.hset(s.key("x"), "state", "pending")),
        listed("active"),
    ),
    Damage("a task pending and archived", "doubled", in_two, listed("archived")),
    Damage(
        "a task pending twice",
        "doubled",
        lambda s: (s.put("x", "pending"), s.raw.lpush(keys.pending("mail"), "x")),
        lambda s: listed("pending")(s) and s.ids("pending") == ["x"],
    ),
    Damage(
        "a task active twice",
        "doubled",
        lambda s: (s.put("x", "active"), s.raw.lpush(keys.active("mail"), "x")),
        lambda s: listed("active")(s) and s.ids("active") == ["x"],
    ),
    Damage(
        "a task that expires",
        "expiring",
        lambda s: (s.put("x", "retry"), s.raw.expire(s.key("x"), 900)),
        listed("retry"),
    ),
    Damage(
        "a list that expires",
        "expiring",
        lambda s: (s.put("x", "pending"), s.raw.expire(keys.pending("mail"), 900)),
        lambda s: s.raw.ttl(keys.pending("mail")) == -1,
    ),
    Damage(
        "a task's key that holds a string, and its id pending",
        "not-a-task",
        lambda s: (s.raw.set(s.key("x"), "?"), s.list_as("x", "pending", lease=None)),
        lambda s: aside("t:x")(s) and s.ids("pending") == [],
    ),
    Damage(
        "a container that is a string",
        "wrong-type",
        lambda s: s.raw.set(keys.retry("mail"), "?"),
        aside("retry"),
    ),
    Damage(
        "a lock that is a list",
        "wrong-type",
        lambda s: s.raw.lpush(LOCK, "?"),
        aside("unique:email:send:0123"),
    ),
    Damage(
        "a group that is a string",
        "wrong-type",
        lambda s: s.raw.set(keys.group("mail", "team"), "?"),
        aside("g:team"),
    ),
    Damage(
        "a counter that is no number",
        "not-a-number",
        lambda s: s.raw.set(keys.processed("mail"), "many"),
        aside("processed"),
    ),
    Damage(
        "a lock whose holder is gone",
        "leaked-lock",
        lambda s: s.raw.set(LOCK, "x", ex=9000),
        lambda s: not s.raw.exists(LOCK),
    ),
    Damage(
        "a lock that a refused enqueue of asynq has left to another task",
        "leaked-lock",
        lambda s: (s.put("x", "pending"), s.raw.set(LOCK, "x", ex=9000)),
        lambda s: not s.raw.exists(LOCK) and listed("pending")(s),
    ),
    Damage(
        "a group that is not listed",
        "unlisted-group",
        lambda s: (s.put("x", "aggregating", group="team"), s.raw.delete(keys.groups("mail"))),
        listed("aggregating", "team"),
    ),
    Damage(
        "a listed group without tasks",
        "empty-group",
        lambda s: s.raw.sadd(keys.groups("mail"), "team"),
        lambda s: not s.raw.exists(keys.groups("mail")),
    ),
    Damage(
        "a staged set that nobody finished",
        "stale-set",
        lambda s: staged(s, deadline=NOW - 500),
        regrouped,
    ),
    Damage(
        "a staged set that is not listed",
        "unlisted-set",
        lambda s: staged(s, deadline=None),
        regrouped,
    ),
    Damage(
        "a listed set that does not exist",
        "missing-set",
        lambda s: s.raw.zadd(
            keys.aggregation_sets("mail"), {keys.aggregation_set("mail", "team", SET_ID): NOW}
        ),
        lambda s: not s.raw.exists(keys.aggregation_sets("mail")),
    ),
    Damage(
        "a queue with tasks that is not registered",
        "unregistered",
        unregister,
        lambda s: s.raw.sismember(keys.QUEUES, "mail"),
    ),
    Damage(
        "counters and a pause of a deleted queue",
        "debris",
        leave_queue,
        lambda s: not s.raw.keys("asynq:{old}:*"),
    ),
    Damage(
        "entries of servers that are gone",
        "dead-entries",
        lambda s: s.raw.zadd(keys.SERVERS, {"asynq:servers:{host:1:x}": NOW - 61}),
        lambda s: not s.raw.exists(keys.SERVERS),
    ),
)
