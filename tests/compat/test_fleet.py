"""Go servers and qd workers side by side on the same queues."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import redis

import qd
from qd.client.client import NewEnqueue
from qd.handlers.options import TaskOptions
from qd.protocol.ops.flows import FlowState
from qd.protocol.state import TaskState
from tests.compat.asynq import Asynq, Steps
from tests.compat.peer import PATIENCE, Peer
from tests.support.wait import eventually

pytestmark = pytest.mark.compat

TASKS = 20_000
ARCHIVED = 9_500
DEAD = 1_000

WEIGHTS = {"high": 6, "mid": 3, "low": 1}
QUICK = {"task_check": 0.02, "concurrency": 5}


def enqueue_by_qd(peer: Peer, count: int, task_type: str, prefix: str, **options: Any) -> None:
    new = [
        NewEnqueue(task_type, b"x", TaskOptions.of(task_id=f"{prefix}-{number}", **options))
        for number in range(count)
    ]
    for start in range(0, count, 500):
        assert not [one for one in peer.client.enqueue_many(new[start : start + 500]) if
                    isinstance(one, Exception)]  # fmt: skip


@pytest.mark.timeout(180)
def test_a_mixed_fleet_loses_and_doubles_no_task(
    asynq: Asynq,
    steps: Steps,
    peer: Peer,
    raw: redis.Redis,
    record_property: Callable[[str, object], None],
) -> None:
    """Both enqueue and both run, all at the same time, on one queue."""
    half = TASKS // 2
    by_qd = threading.Thread(target=enqueue_by_qd, args=(peer, half, "ok", "qd"))
    go = asynq.work(log=peer.journal.path, **QUICK)
    with go as server, peer.processes(worker={"processes": 2, "concurrency": 5}):
        by_qd.start()
        answer = asynq.enqueue_many(half, "ok", id="go", goroutines=4)
        by_qd.join()
        peer.journal.wait_count("end", TASKS, 120)
        steps.wait_queue("default", size=0)
        go_pid = server.pid
    assert answer["errors"] == []
    ends = peer.journal.events("end")
    runs = Counter(one["id"] for one in ends)
    wanted = {f"{side}-{number}" for side in ("go", "qd") for number in range(half)}
    lost = wanted - runs.keys()
    starts = peer.journal.counts("start")
    doubled = [task_id for task_id in wanted if max(runs[task_id], starts[task_id]) > 1]
    by_side = Counter("go" if one["pid"] == go_pid else "qd" for one in ends)
    record_property(
        "mixed fleet",
        f"{TASKS:,} tasks ({by_side['go']:,} run by Go, {by_side['qd']:,} by qd), "
        f"{len(lost)} lost, {len(doubled)} doubled",
    )
    assert (lost, doubled) == (set(), [])
    assert runs.keys() == wanted
    assert min(by_side["go"], by_side["qd"]) > 0, by_side
    assert raw.get("asynq:{default}:processed") == str(TASKS).encode()
    assert raw.keys("asynq:*:t:*") == []


def fill_queues(asynq: Asynq, peer: Peer, each: int) -> None:
    for queue in WEIGHTS:
        enqueue_by_qd(peer, each // 2, "sleep:2ms", f"qd-{queue}", queue=queue)
        asynq.enqueue_many(each // 2, "sleep:2ms", id=f"go-{queue}", queue=queue, goroutines=4)


def test_a_mixed_fleet_shares_its_time_by_weight(asynq: Asynq, peer: Peer) -> None:
    fill_queues(asynq, peer, 600)
    with (
        asynq.work(queues=WEIGHTS, log=peer.journal.path, **QUICK) as server,
        peer.working(WEIGHTS, worker={"concurrency": 5}),
    ):
        peer.journal.wait_count("end", 1800, 60)
        go_pid = server.pid
    # While there is work in all of them: the first is empty after 1,000 tasks.
    starts = sorted(peer.journal.events("start"), key=lambda one: one["time"])[:800]
    sides = {
        "all": starts,
        "go": [one for one in starts if one["pid"] == go_pid],
        "qd": [one for one in starts if one["pid"] != go_pid],
    }
    for side, some in sides.items():
        assert len(some) > 100, {name: len(starts) for name, starts in sides.items()}
        share = Counter(one["queue"] for one in some)
        # Five standard deviations.
        for queue, weight in WEIGHTS.items():
            slack = 5 * (weight / 10 * (1 - weight / 10) / len(some)) ** 0.5
            assert share[queue] / len(some) == pytest.approx(weight / 10, abs=slack), (side, share)
    assert peer.journal.counts("start").most_common(1)[0][1] == 1


def test_a_mixed_fleet_with_strict_priority_drains_queue_by_queue(asynq: Asynq, peer: Peer) -> None:
    fill_queues(asynq, peer, 300)
    with (
        asynq.work(queues=WEIGHTS, strict=True, log=peer.journal.path, **QUICK),
        peer.working(WEIGHTS, worker={"concurrency": 5, "strict_priority": True}),
    ):
        peer.journal.wait_count("end", 900, 60)
    starts = sorted(peer.journal.events("start"), key=lambda one: one["time"])
    order = [one["queue"] for one in starts]
    # Ten run at a time, so as many may have been taken and not yet have written their line.
    assert order.index("mid") >= 300 - 10
    assert order.index("low") >= 600 - 20


@pytest.mark.timeout(180)
def test_the_archive_of_a_mixed_fleet_keeps_its_bound(
    asynq: Asynq, steps: Steps, peer: Peer, raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """No task is left without a container, and no script fails, on either side."""
    caplog.set_level("CRITICAL")

    def archived() -> int:
        listed = {one.decode() for one in raw.zrange("asynq:{default}:archived", 0, -1)}
        stored = {key.decode().rpartition(":")[2] for key in raw.scan_iter("asynq:*:t:*", 5000)}
        assert stored == listed
        return len(listed)

    enqueue_by_qd(peer, ARCHIVED, "skip", "old")
    assert peer.inspector.tasks.archive_all("default", TaskState.PENDING) == ARCHIVED
    enqueue_by_qd(peer, DEAD, "skip", "qd")
    with peer.working():
        peer.journal.wait_count("end", DEAD, 120)
        steps.wait_queue("default", pending=0, active=0)
    assert archived() == 10_000
    # In the same second, asynq's trim would take the lowest ids first, were they its own.
    ((_, last),) = raw.zrange("asynq:{default}:archived", -1, -1, withscores=True)
    eventually(lambda: time.time() >= last + 1, PATIENCE)
    asynq.enqueue_many(30, "skip", id="go")
    with asynq.work(count=30, log=peer.journal.path, **QUICK) as server:
        server.wait()
    assert archived() == 9_999
    assert raw.get("asynq:{default}:failed") == str(DEAD + 30).encode()
    enqueue_by_qd(peer, 5, "skip", "again")
    with peer.working():
        peer.journal.wait_count("end", DEAD + 35)
        steps.wait_queue("default", pending=0, active=0)
    assert archived() == 10_000


@pytest.mark.timeout(180)
def test_go_workers_run_links_of_flows(asynq: Asynq, peer: Peer, raw: redis.Redis) -> None:
    """qd -> Go -> qd, side by side and behind each other; the results of Go arrive in qd."""
    seen: list[Any] = []

    def declare(app: qd.App) -> None:
        @app.task("collect", queue="qd")
        async def collect(ctx: qd.Context) -> list[Any]:
            seen.extend(await ctx.results())
            return seen

    with peer.working({"qd": 1}, declare=declare) as app:
        first = app.new_task("result").payload("from qd").queue("qd")
        by_go = app.new_task("result").queue("go")
        flow = qd.chain(
            first,
            qd.gather([by_go.payload({"n": n}) for n in range(20)]),
            app.new_task("echo").queue("go"),
            app.new_task("collect").queue("qd"),
        )
        with asynq.work(queues={"go": 1}, log=peer.journal.path, **QUICK):
            info = flow.enqueue()
            (echoed,) = info.result(60)
            end = info.info()
    assert (end.state, end.ended) == (FlowState.DONE, 23)
    # In Go, its header says where a task stands; the results before it are in the hash of the flow.
    assert echoed["headers"] == {"qd-flow": f"{info.id}:22"}
    key = f"qd:{{flow:{info.id}}}"
    before = (raw.hget(key, "<22") or b"").split()
    assert [json.loads(raw.hget(key, b"r" + n) or b"") for n in before] == [
        {"n": n} for n in range(20)
    ]
    assert peer.journal.counts("start").most_common(1)[0][1] == 1


def test_a_link_that_dies_in_go_fails_the_flow_until_it_is_brought_back(
    asynq: Asynq, peer: Peer
) -> None:
    with peer.working({"qd": 1}) as app:
        dies = app.new_task("skip").queue("go")
        info = (dies >> app.new_task("ok").queue("qd")).enqueue()
        with asynq.work(queues={"go": 1}, count=1, **QUICK) as server:
            server.wait()
        end = info.wait(60)
        assert (end.state, end.stopped_at) == (FlowState.FAILED, f"flow:{info.id}:1")
        assert "skip" in end.error or "failed" in end.error
        asynq.inspect("delete", queue="go", id=f"flow:{info.id}:1")
        eventually(lambda: info.info().state is FlowState.BROKEN, 60)
