"""
`qd doctor` on what real asynq leaves behind: its own faults, and a fleet of both at work.

Each fault is brought about by asynq itself; what the test does to Redis beforehand is what a crash, an
eviction or a hand on the keys does.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import redis

from qd.broker.connect import open_link
from qd.broker.endpoint import parse_addresses
from qd.errors import DuplicateTask
from qd.inspector.doctor.doctor import Doctor, Mended
from qd.protocol import keys
from qd.protocol.state import TaskState
from tests.compat.asynq import Asynq, AsynqError, Steps
from tests.compat.peer import PATIENCE, Peer
from tests.support.servers import RedisServer
from tests.support.wait import eventually

pytestmark = pytest.mark.compat

LOOKS = 200
QUICK = {"task_check": 0.02, "delayed_check": 0.05}
LONG_AGO = time.time() - 91 * 86_400
TASK = keys.task("default", "x")


@pytest.fixture
def doctor(server: RedisServer) -> Iterator[Doctor]:
    with closing(open_link(parse_addresses([server.url]))) as link:
        yield Doctor(link, between=0.05)


def mend(doctor: Doctor, *rules: str) -> None:
    """The doctor finds exactly this, repairs it, and then finds nothing."""
    found = doctor.look().findings
    assert sorted({one.rule for one in found}) == sorted(rules), found
    assert {result for _, result in doctor.mend(found)} == {Mended.REPAIRED}
    assert doctor.look().findings == []


def test_the_lock_of_an_enqueue_that_was_refused_for_its_id(
    doctor: Doctor, steps: Steps, raw: redis.Redis
) -> None:
    steps.enqueue("ok", id="x", payload="one")
    with pytest.raises(AsynqError):
        steps.enqueue("ok", id="x", payload="two", unique=3600)
    with pytest.raises(AsynqError):
        steps.enqueue("ok", payload="two", unique=3600)
    mend(doctor, "leaked-lock")
    steps.enqueue("ok", payload="two", unique=3600)
    assert raw.llen(keys.pending("default")) == 2


def test_what_a_dequeue_makes_of_an_id_whose_task_is_gone(
    doctor: Doctor, steps: Steps, raw: redis.Redis
) -> None:
    steps.enqueue("ok", id="x")
    raw.delete(TASK)
    steps.start_server(**QUICK)
    eventually(lambda: raw.hgetall(TASK) == {b"state": b"active"}, PATIENCE)
    with pytest.raises(AsynqError):
        steps.enqueue("ok", id="x")
    steps.stop_server()
    mend(doctor, "empty")
    assert not raw.exists(keys.active("default"), keys.lease("default"))
    steps.enqueue("ok", id="x")


def test_what_the_forwarder_makes_of_an_id_whose_task_is_gone(
    doctor: Doctor, steps: Steps, raw: redis.Redis
) -> None:
    steps.enqueue("ok", id="x", process_in=1)
    raw.delete(TASK)
    raw.set(keys.paused("default"), 1)
    steps.start_server(**QUICK)
    eventually(lambda: raw.hget(TASK, "state") == b"pending", PATIENCE)
    steps.stop_server()
    raw.delete(keys.paused("default"))
    mend(doctor, "empty")


@pytest.mark.parametrize("how", ["ok", "fail"])
def test_a_task_that_ends_after_its_lease_was_lost(
    doctor: Doctor, steps: Steps, raw: redis.Redis, how: str
) -> None:
    """asynq takes it off the active list, then fails: a failed task is nowhere after that."""
    steps.enqueue("ok", id="x", max_retry=3)
    steps.start_server(**QUICK)
    steps.wait_active("x")
    raw.delete(keys.lease("default"))
    with contextlib.suppress(AsynqError):
        steps.end("x", how)
    eventually(lambda: not raw.exists(keys.active("default")), PATIENCE)
    assert raw.hget(TASK, "state") == b"active"
    mend(doctor, "unlisted")
    assert steps.inspect("task-info", id="x")["state"] == "archived"
    steps.inspect("run", id="x")
    steps.wait_active("x")
    steps.end("x", "ok")
    assert not raw.exists(TASK)


def test_a_group_whose_set_was_put_back_without_being_listed(
    doctor: Doctor, steps: Steps, raw: redis.Redis
) -> None:
    steps.enqueue("ok", id="x", group="team")
    # As an aggregator leaves it that is killed, two minutes later.
    staged = keys.aggregation_set("default", "team", "6ba7b810-9dad-11d1-80b4-00c04fd430c8")
    raw.rename(keys.group("default", "team"), staged)
    raw.srem(keys.groups("default"), "team")
    raw.zadd(keys.aggregation_sets("default"), {staged: int(time.time()) - 10})
    steps.start_server(**QUICK)
    eventually(lambda: raw.exists(keys.group("default", "team")), PATIENCE)
    assert raw.smembers(keys.groups("default")) == set()
    steps.stop_server()
    mend(doctor, "unlisted-group")
    assert [one["id"] for one in steps.inspect("list-aggregating", group="team")] == ["x"]


def test_a_message_that_asynq_cannot_read(doctor: Doctor, steps: Steps, raw: redis.Redis) -> None:
    steps.enqueue("ok", id="x")
    raw.hset(TASK, "msg", b"\xff\xff")
    steps.start_server(**QUICK)
    eventually(lambda: raw.exists(keys.active("default")), PATIENCE)
    steps.stop_server()
    assert doctor.look().findings == []
    raw.zadd(keys.lease("default"), {"x": int(time.time()) - 1})
    mend(doctor, "undecodable")
    assert raw.hget(TASK, "msg") == b"\xff\xff"
    # asynq's tools pass over it.
    assert steps.inspect("list-archived") == []
    assert steps.inspect("queue-info")["archived"] == 1


def test_what_the_removal_of_a_queue_leaves(doctor: Doctor, steps: Steps, raw: redis.Redis) -> None:
    steps.enqueue("ok", id="x", retention=3600)
    steps.start_server(**QUICK)
    steps.wait_active("x")
    steps.end("x", "ok")
    steps.stop_server()
    steps.enqueue("ok", unique=3600)
    steps.inspect("delete-queue", force=True)
    assert steps.inspect("queues") == []
    mend(doctor, "unregistered", "leaked-lock")
    # The result that was to be kept is there again, for who has the id.
    assert steps.inspect("task-info", id="x")["state"] == "completed"
    assert not raw.keys(keys.unique_prefix("default") + "*")


def test_an_archive_that_cannot_be_trimmed_any_more(
    doctor: Doctor, steps: Steps, raw: redis.Redis
) -> None:
    """Past some 8,000 entries asynq's script deletes the tasks, and stops before their ids."""
    message = raw.hget(TASK, "msg") if steps.enqueue("ok", id="x", max_retry=0) else None
    with raw.pipeline(transaction=False) as pipe:
        for number in range(8100):
            key = keys.task("default", f"old-{number}")
            pipe.hset(key, mapping={"msg": message, "state": "archived"})
            pipe.zadd(keys.archived("default"), {f"old-{number}": LONG_AGO})
        pipe.execute()
    steps.start_server(**QUICK)
    steps.wait_active("x")
    with contextlib.suppress(AsynqError):
        steps.end("x", "fail")
    eventually(lambda: raw.zscore(keys.archived("default"), "x"), PATIENCE)
    assert raw.hget(TASK, "state") == b"active"
    steps.stop_server()
    mend(doctor, "ghost", "misplaced")
    assert raw.zrange(keys.archived("default"), 0, -1) == [b"x"]
    assert raw.hget(TASK, "state") == b"archived"


@pytest.mark.timeout(180)
def test_a_mixed_fleet_at_work_gives_no_false_alarm(
    asynq: Asynq,
    peer: Peer,
    doctor: Doctor,
    raw: redis.Redis,
    record_property: Callable[[str, object], None],
) -> None:
    """Both enqueue and both run, with failures, retries, delays, groups, locks and retention."""
    over = threading.Event()

    def wanted() -> bool:
        """Wait until the workers have caught up; False at the end."""
        while raw.llen(keys.pending("default")) > 200 and not over.is_set():
            time.sleep(0.02)
        return not over.is_set()

    def produce() -> None:
        number = 0
        while wanted():
            number += 1
            for task_type in ("ok", "fail", "sleep:5ms", "skip"):
                peer.client.enqueue(task_type, b"x", max_retry=1, retention=number % 2)
            peer.client.enqueue("ok", b"x", process_in=1)
            peer.client.enqueue("ok", b"x", group=f"g{number % 3}")
            with contextlib.suppress(DuplicateTask):
                peer.client.enqueue("ok", b"unique", unique=2)
            if number % 50 == 0:
                peer.inspector.tasks.delete_all("default", TaskState.ARCHIVED)

    def produce_in_go() -> None:
        number = 0
        while wanted():
            number += 1
            asynq.enqueue_many(100, "ok", id=f"go-{number}", goroutines=2, retention=1)
            asynq.enqueue_many(20, "fail", id=f"bad-{number}", max_retry=1, process_in=1)

    threads = [threading.Thread(target=produce), threading.Thread(target=produce_in_go)]
    go = asynq.work(concurrency=5, retry_delay=1, aggregate=True, group_grace=1, **QUICK)
    settings = {"retry": {"policy": "fixed", "initial": "1s"}, "worker": {"concurrency": 5}}
    false_alarms, looked = [], 0
    with go, peer.processes(**settings):
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: raw.exists(keys.processed("default")), PATIENCE)
            before = int(raw.get(keys.processed("default")) or 0)  # type: ignore[arg-type]
            for _ in range(LOOKS):
                report = doctor.look()
                false_alarms += report.findings
                looked += report.tasks
            done = int(raw.get(keys.processed("default")) or 0) - before  # type: ignore[arg-type]
        finally:
            over.set()
            for thread in threads:
                thread.join()
    record_property(
        "doctor",
        f"{len(false_alarms)} false alarms in {LOOKS} looks at a mixed fleet, {looked} tasks seen "
        f"while {done} ended",
    )
    assert false_alarms == []
    assert done > 0
