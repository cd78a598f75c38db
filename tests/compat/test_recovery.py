"""The tasks of a dead worker are run by the other side, once; those of a living one are not."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import redis

from qd.broker.async_link import AsyncLink
from qd.broker.connect import open_async_link
from qd.broker.endpoint import parse_addresses
from qd.maintenance.counters import Counters
from qd.maintenance.recoverer import Recoverer
from tests.compat.asynq import Asynq, Steps
from tests.compat.peer import PATIENCE, SLOW, Peer, kill_all
from tests.maintenance.lab import rules
from tests.support.procs import children_of, cpu_seconds_of
from tests.support.servers import RedisServer
from tests.support.wait import eventually

pytestmark = pytest.mark.compat

LEASE = "asynq:{default}:lease"
EXPIRED = "asynq: task lease expired"


@pytest.fixture
async def link(server: RedisServer) -> AsyncIterator[AsyncLink]:
    opened = open_async_link(parse_addresses([server.url]))
    yield opened
    await opened.close()


def recoverer(link: AsyncLink) -> Recoverer:
    return Recoverer(
        link, ["default"], rules(policy="fixed", initial=3600.0), interval=1, counts=Counters()
    )


def test_go_recovers_the_task_of_a_killed_qd(steps: Steps, peer: Peer, raw: redis.Redis) -> None:
    peer.client.enqueue("hold", task_id="t1", max_retry=3)
    with peer.processes() as proc:
        peer.journal.wait("start", "t1")
        (active,) = steps.inspect("list-active")
        assert not active["is_orphaned"]
        kill_all(proc)
    assert raw.zscore(LEASE, "t1") <= time.time() + 15
    # Its lease has ended, and asynq's grace of 30 s as well.
    raw.zadd(LEASE, {"t1": int(time.time()) - 31})
    (active,) = steps.inspect("list-active")
    assert active["is_orphaned"]
    steps.maintain("default", {"active": 0, "retry": 1})
    task = steps.inspect("task-info", id="t1")
    assert (task["retried"], task["last_err"]) == (1, EXPIRED)
    assert not raw.exists(LEASE)


def test_qd_recovers_the_task_of_a_killed_go_server_as_one_failed_attempt(
    steps: Steps, peer: Peer, asynq: Asynq, raw: redis.Redis
) -> None:
    """Only after asynq's grace: a Go server whose clock is slow may still be at it."""
    with asynq.steps() as crashing:
        crashing.start_server(concurrency=3)
        for task_id, terms in (("old", {}), ("recent", {}), ("last-try", {"max_retry": 0})):
            crashing.enqueue("ok", id=task_id, **terms)
            crashing.wait_active(task_id)
        crashing.kill()
    now = int(time.time())
    raw.zadd(LEASE, {"old": now - 31, "recent": now - 10, "last-try": now - 31})
    with peer.working(scheduler={"recover_interval": 0.1}):
        steps.wait_queue("default", active=1, retry=1, archived=1)
        old = steps.inspect("task-info", id="old")
        assert (old["state"], old["retried"], old["last_err"]) == ("retry", 1, EXPIRED)
        assert old["next_process_at"] > time.time() + 3000
        assert steps.inspect("task-info", id="last-try")["state"] == "archived"
        assert steps.inspect("list-active")[0]["id"] == "recent"
        info = steps.inspect("queue-info")
        assert (info["processed_total"], info["failed_total"]) == (2, 2)
        # It comes to its senses within the grace.
        raw.zadd(LEASE, {"recent": int(time.time()) - 31})
        steps.wait_queue("default", active=0, retry=2)
    assert peer.journal.ids("start") == []


@pytest.mark.timeout(150)
def test_a_task_that_runs_long_keeps_its_lease_from_both_recoverers(
    asynq: Asynq, steps: Steps, peer: Peer, raw: redis.Redis
) -> None:
    peer.client.enqueue("hold", task_id="t1")
    with peer.working(scheduler={"recover_interval": 0.1}):
        peer.journal.wait("start", "t1")
        first = raw.zscore(LEASE, "t1")
        asked = 70 if SLOW else 4
        with asynq.work(log=peer.journal.path, task_check=0.1):
            eventually(lambda: raw.zscore(LEASE, "t1") >= first + asked, asked + PATIENCE)
        peer.release("t1")
        steps.wait_queue("default", active=0)
    assert peer.journal.counts("start") == {"t1": 1}
    assert steps.inspect("queue-info")["processed_total"] == 1


@pytest.mark.skipif(not SLOW, reason="takes two minutes; set COMPAT_FULL=1")
@pytest.mark.timeout(300)
def test_a_running_go_server_recovers_a_killed_qd_by_itself(asynq: Asynq, peer: Peer) -> None:
    peer.client.enqueue("hold", task_id="t1")
    with peer.processes() as proc:
        peer.journal.wait("start", "t1")
        kill_all(proc)
    # Go has no behaviour `hold`: it ends at once.
    with asynq.work(default="ok", retry_delay=1, log=peer.journal.path, delayed_check=0.5):
        eventually(lambda: peer.journal.counts("start")["t1"] == 2, 200)


def test_a_ghost_stays_with_nobody(
    asynq: Asynq, steps: Steps, peer: Peer, raw: redis.Redis
) -> None:
    """An id without its hash: qd drops it; where Go took it, qd's scheduler clears up behind it."""
    for name in ("ghost", "real"):
        peer.client.enqueue("ok", task_id=name)
    raw.delete("asynq:{default}:t:ghost")
    with peer.working():
        peer.journal.wait("end", "real")
        steps.wait_queue("default", active=0, pending=0)
    places = ("pending", "active", "lease", "t:ghost")
    assert not raw.exists(*(f"asynq:{{default}}:{place}" for place in places))
    assert "default" in asynq.cli("queue", "inspect", "default")

    steps.enqueue("ok", id="ghost")
    raw.delete("asynq:{default}:t:ghost")
    steps.start_server()
    eventually(lambda: raw.hgetall("asynq:{default}:t:ghost") == {b"state": b"active"}, PATIENCE)
    steps.stop_server()
    assert raw.zscore(LEASE, "ghost")
    raw.zadd(LEASE, {"ghost": 1})
    with peer.working(scheduler={"recover_interval": 0.1}):
        eventually(lambda: not raw.exists(LEASE, "asynq:{default}:active"), PATIENCE)
    assert raw.keys("asynq:*:t:*") == []


async def test_an_active_task_without_a_lease_is_adopted_by_qd_alone(
    steps: Steps, peer: Peer, raw: redis.Redis, link: AsyncLink
) -> None:
    """asynq leaves it active for ever; qd waits for a second look, then recovers it."""
    for name in ("unleased", "expired"):
        steps.enqueue("t", id=name)
        raw.rpoplpush("asynq:{default}:pending", "asynq:{default}:active")
        raw.hset(f"asynq:{{default}}:t:{name}", "state", "active")
    raw.zadd(LEASE, {"expired": 1})
    # That the other one was recovered shows that Go's recoverer has been at it.
    steps.maintain("default", {"active": 1, "retry": 1})
    assert steps.inspect("task-info", id="unleased")["state"] == "active"

    looking = recoverer(link)
    now = time.time()
    await looking.step(now)
    assert not raw.exists(LEASE)
    for later in range(2, 94, 2):
        await looking.step(now + later)
    task = peer.inspector.tasks.get("default", "unleased")
    assert (task.state, task.retried, task.error) == ("retry", 1, EXPIRED)
    assert not raw.exists(LEASE, "asynq:{default}:active")


async def test_a_clock_that_is_20_seconds_fast_takes_nothing_from_the_other_side(
    steps: Steps, peer: Peer, raw: redis.Redis, link: AsyncLink
) -> None:
    """Both ways: qd's recoverer and a task that Go holds, Go's recoverer and a task that qd holds."""
    steps.start_server()
    steps.enqueue("t", id="go")
    steps.wait_active("go")
    # The shortest that a living Go server leaves of its lease: 25 s.
    raw.zadd(LEASE, {"go": int(time.time()) + 25})
    await recoverer(link).step(time.time() + 20 + 30)
    assert steps.inspect("task-info", id="go")["state"] == "active"
    steps.end("go", "ok")
    steps.stop_server()

    steps.enqueue("t", id="lost")
    raw.rpoplpush("asynq:{default}:pending", "asynq:{default}:active")
    raw.hset("asynq:{default}:t:lost", "state", "active")
    peer.client.enqueue("hold", task_id="qd")
    with peer.working(scheduler={"enabled": False}):
        peer.journal.wait("start", "qd")
        # As that clock sees the shortest that a living qd leaves of its own: 10 s.
        raw.zadd(LEASE, {"qd": int(time.time()) + 10 - 20, "lost": 1})
        # That the one is recovered shows that Go has looked at the other.
        steps.maintain("default", {"active": 1, "retry": 1})
        assert steps.inspect("task-info", id="lost")["state"] == "retry"
        assert steps.inspect("task-info", id="qd")["state"] == "active"


@pytest.mark.timeout(150)
def test_an_outage_ends_no_task_twice_and_costs_no_processor(
    steps: Steps, peer: Peer, server: RedisServer, raw: redis.Redis
) -> None:
    """Connections stay open while Redis is silent, and are cut when it answers again."""
    for name in ("ends-meanwhile", "cancelled-after"):
        peer.client.enqueue("hold", task_id=name)
    with peer.processes() as proc:
        for name in ("ends-meanwhile", "cancelled-after"):
            peer.journal.wait("start", name)
        children = children_of(proc.pid)
        before = sum(map(cpu_seconds_of, children))
        server.pause()
        silence = 60 if SLOW else 3
        try:
            peer.release("ends-meanwhile")
            peer.journal.wait("end", "ends-meanwhile")
            until = time.monotonic() + silence
            eventually(lambda: time.monotonic() > until, silence + 1)
        finally:
            server.resume()
        assert sum(map(cpu_seconds_of, children)) - before < 0.2 * silence + 0.3
        server.command("CLIENT", "KILL", "TYPE", "normal")
        server.command("CLIENT", "KILL", "TYPE", "pubsub")
        if not SLOW:
            eventually(lambda: int(raw.get("asynq:{default}:processed") or 0) == 1, PATIENCE)
            # The ears are open again.
            eventually(
                lambda: (
                    steps.inspect("cancel", id="cancelled-after") is None
                    and raw.zscore("asynq:{default}:retry", "cancelled-after")
                ),
                PATIENCE,
            )
            assert peer.journal.counts("start") == {"ends-meanwhile": 1, "cancelled-after": 1}
        assert children_of(proc.pid) == children
