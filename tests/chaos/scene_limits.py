"""Limits over several processes: a rate, tasks at a time while processes are killed, and who must not wait."""

from __future__ import annotations

import math
import os
import signal
import statistics
import time
from collections.abc import Iterable
from contextlib import suppress

from tests.chaos.fleet import Fleet
from tests.chaos.journal import Journal, Run
from tests.chaos.stage import Measure, Stage
from tests.support.wait import eventually

_RATE, _BURST = 100, 10
_SLOTS = 3
_STUCK = 2.0
_HELD = 10_000
_COST = 0.10
_KILL_EVERY = 0.5


def rate(stage: Stage) -> list[Measure]:
    """So many starts a second, over four processes."""
    seconds = stage.profile.limit_seconds
    limits = {"api": {"rate": f"{_RATE}/s", "burst": _BURST, "types": ["work"]}}
    stage.producer.send("work", _RATE * (seconds + 2), payload={"seconds": 0})
    fleet = stage.fleet(limits=limits)
    for name in ("a", "b"):
        fleet.add(name)
    eventually(lambda: stage.unsettled() == 0, within=3.0 * seconds + 30)
    fleet.stop()
    starts = sorted(event.at for event in fleet.journal.events() if event.what == "start")
    within = [at for at in starts if at <= starts[0] + seconds]
    most = _most_in_a_second(starts)
    used = len(within) / (_RATE * seconds)
    title = f"rate {_RATE}/s over 4 processes for {seconds} s"
    return [
        Measure(
            f"{title}: most starts in any second",
            f"<= {_RATE + _BURST} (burst + rate)",
            str(most),
            most <= _RATE + _BURST,
        ),
        Measure(
            f"{title}: used", f">= 98 % within {seconds} s", f"{100 * used:.1f} %", used >= 0.98
        ),
    ]


def slots(stage: Stage) -> list[Measure]:
    """So many tasks at a time, while workers and schedulers are killed."""
    kills = stage.profile.limit_kills
    fleet = stage.fleet(limits={"api": {"concurrency": _SLOTS, "types": ["work"]}})
    for name in ("a", "b"):
        fleet.add(name)
    stage.producer.send("work", int(kills * _KILL_EVERY * 70) + 200, payload={"seconds": 0.05})
    eventually(lambda: fleet.journal.count("end") > 50, within=60)
    killed: dict[int, float] = {}
    for number in range(kills):
        time.sleep(stage.random.uniform(0.5, 1.5) * _KILL_EVERY)
        _kill(stage, fleet, killed)
        if number % 50 == 49:
            stage.say(f"{number + 1} kills, {fleet.journal.count('end')} tasks ended")
    busy_until = time.monotonic()
    eventually(lambda: stage.unsettled() == 0, within=120 + kills)
    fleet.stop()
    spans = list(_spans(fleet.journal, killed))
    most, longest = _at_a_time(spans, busy_until)
    verdict = stage.verdict(fleet, [])
    title = f"{_SLOTS} at a time under {kills} kills"
    return [
        Measure(f"{title}: most at once", str(_SLOTS), str(most), most <= _SLOTS),
        Measure(
            f"{title}: longest time with fewer",
            f"<= {_STUCK:g} s",
            f"{longest:.2f} s",
            longest <= _STUCK,
        ),
        Measure(f"{title}: lost", "0", str(len(verdict.lost)), not verdict.lost),
    ]


def held_back(stage: Stage) -> list[Measure]:
    """What tasks that wait at a limit cost the others in their queue."""
    fleet = stage.fleet(limits={"api": {"concurrency": 1, "types": ["work:held"]}})
    for name in ("a", "b"):
        fleet.add(name)
    _throughput(stage)
    without, beside, both = [], [], []
    for _ in range(stage.profile.limit_rounds):
        without.append(_throughput(stage))
        stage.producer.send("work:held", _HELD, payload={"seconds": 3600})
        both.append(_throughput(stage, waiting=_HELD))
        beside.append(_throughput(stage, waiting=_HELD))
        _forget(stage)
    fleet.stop()
    base, held = statistics.median(without), statistics.median(beside)
    cost = 1 - held / base
    title = f"{_HELD:,} tasks that wait at a limit"
    return [
        Measure(
            f"{title}: others in the queue, per s",
            f">= {(1 - _COST) * base:,.0f} per s (10 % less than {base:,.0f})",
            f"{held:,.0f} ({100 * cost:+.1f} % less)",
            cost <= _COST,
        ),
        Measure(
            f"{title}: others behind them, while they are parked",
            "",
            f"{statistics.median(both):,.0f} per s",
            None,
        ),
    ]


def fair(stage: Stage) -> list[Measure]:
    """What tenants with few tasks wait behind one with many."""
    large = stage.profile.limit_others * 5
    limit = {"concurrency": 20, "queues": ["default"], "fair_by": "payload.tenant"}
    fleet = stage.fleet(limits={"tenants": limit})
    stage.producer.send("work", large, payload={"seconds": 0.002, "tenant": "large"})
    small = [
        task_id
        for tenant in range(10)
        for task_id in stage.producer.send(
            "work", 20, payload={"seconds": 0.002, "tenant": f"small {tenant}"}
        )
    ]
    for name in ("a", "b"):
        fleet.add(name)
    eventually(lambda: stage.unsettled() == 0, within=600)
    fleet.stop()
    events = fleet.journal.events()
    began = min(event.at for event in events)
    ends = {event.id: event.at - began for event in events if event.what == "end"}
    last = max(ends[task_id] for task_id in small)
    whole = max(ends.values())
    doubled = sum(event.what == "end" for event in events) - len(ends)
    title = f"200 tasks of 10 tenants behind {large:,} of one"
    return [
        Measure(f"{title}: the last of them ends", f"before {whole:.1f} s", f"{last:.1f} s", None),
        Measure(f"{title}: run twice", "0", str(doubled), doubled == 0),
    ]


def _throughput(stage: Stage, waiting: int = 0) -> float:
    """Tasks a second, from the first enqueue to the last end."""
    count = stage.profile.limit_others
    began = time.monotonic()
    stage.producer.send("work", count, payload={"seconds": 0})
    eventually(lambda: stage.unsettled() <= waiting, within=300)
    return count / (time.monotonic() - began)


def _forget(stage: Stage) -> None:
    """Take the waiting tasks away, and the ones that run with their processes' leave."""
    client = stage.client
    ids = [
        *client.zrange("asynq:{default}:scheduled", 0, -1),
        *client.lrange("asynq:{default}:active", 0, -1),
    ]
    for task_id in ids:
        stage.producer.acked.pop(task_id.decode(), None)
    for key in client.scan_iter("qd:{limit:api}:*"):
        client.delete(key)
    pipeline = client.pipeline()
    pipeline.delete("asynq:{default}:scheduled")
    for task_id in ids:
        client.publish("asynq:cancel", task_id)
        pipeline.delete(f"asynq:{{default}}:t:{task_id.decode()}")
        pipeline.lrem("asynq:{default}:active", 1, task_id)
        pipeline.zrem("asynq:{default}:lease", task_id)
    pipeline.execute()
    eventually(lambda: stage.unsettled() == 0, within=60)


def _kill(stage: Stage, fleet: Fleet, killed: dict[int, float]) -> None:
    """Kill a worker, one time in five a scheduler."""
    while True:
        role = stage.random.choices(("worker", "scheduler"), (80, 20))[0]
        found = stage.random.choice(fleet.hosts).children(role, ready=True)
        if not found:
            time.sleep(0.01)
            continue
        pid = stage.random.choice(found)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed[pid] = time.monotonic()
            return


def _spans(journal: Journal, killed: dict[int, float]) -> Iterable[tuple[float, float]]:
    for run in journal.runs():
        yield run.start, _end(run, killed)


def _end(run: Run, killed: dict[int, float]) -> float:
    if run.end is not None:
        return run.end
    return killed.get(run.pid, math.inf)


def _at_a_time(spans: Iterable[tuple[float, float]], until: float) -> tuple[int, float]:
    """The most that ran at once, and the longest time with fewer than there may be."""
    changes = sorted([(a, 1) for a, _ in spans] + [(b, -1) for _, b in spans if b < math.inf])
    now = most = 0
    longest, since = 0.0, None
    for at, change in changes:
        now += change
        most = max(most, now)
        if at > until:
            continue
        if now >= _SLOTS:
            longest, since = max(longest, at - since) if since is not None else longest, None
        elif since is None and most >= _SLOTS:
            since = at
    return most, longest


def _most_in_a_second(starts: list[float]) -> int:
    first = most = 0
    for last, at in enumerate(starts):
        while starts[first] <= at - 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most
