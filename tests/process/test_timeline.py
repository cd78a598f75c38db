"""A fleet that keeps a timeline, while its processes are killed: each transition is there, once."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import closing

import pytest

from qd.app.app import App
from qd.client.client import NewEnqueue
from qd.errors import QdError
from qd.handlers.options import TaskOptions
from qd.inspector.timeline import UNSEEN
from qd.protocol import keys
from tests.process.daemon import QUEUE, Daemon
from tests.support.wait import eventually

pytestmark = pytest.mark.process

TASKS = 300
KEEP = {"timeline": {"keep": "1h"}}


def at_work(daemon: Daemon) -> set[int]:
    """Worker processes that live, and have begun with a task."""
    living = {server.pid for server in daemon.servers()}
    return living & {one.pid for one in daemon.events("start")}


def all_done(daemon: Daemon) -> bool:
    return not daemon.raw.exists(keys.pending(QUEUE), keys.active(QUEUE))


def test_each_transition_is_noted_once_although_workers_are_killed(daemon: Daemon) -> None:
    daemon.configure(worker={"processes": 2, "concurrency": 5}, **KEEP)
    daemon.start()
    config = {"redis": {"addrs": [daemon.server.url]}, **KEEP}
    with closing(App("producer", config=config)) as app:
        options = TaskOptions(queue=QUEUE)
        sent = app.client.enqueue_many(
            [NewEnqueue("slow", {"seconds": 0.1}, options) for _ in range(TASKS)]
        )
    ids = [one.id for one in sent if not isinstance(one, QdError)]
    killed: set[int] = set()
    for _ in range(3):
        # The last may come too late: then there is nothing left to do.
        found = eventually(lambda: at_work(daemon) - killed or all_done(daemon), 30)
        if isinstance(found, set):
            victim = min(found)
            os.kill(victim, signal.SIGKILL)
            killed.add(victim)
    for one in ids:
        assert daemon.settled(one, 60) == ""
    assert killed

    steps: Counter[str] = Counter()
    for one in ids:
        found = daemon.inspector.timeline.of_task(one)
        # They fit together: nothing is missing, and nothing is there twice.
        states = [None, *(each.after for each in found)]
        assert [each.before for each in found] == states[:-1], found
        assert states[-1] is None
        own = Counter(each.step for each in found)
        assert own["enqueue"] == own["done"] == 1
        assert own["dequeue"] == 1 + own["hand_back"] + own["recover"] + own["requeue"]
        assert len(daemon.events("start", one)) <= own["dequeue"]
        assert {each.attempt for each in found} == {1}, "a death costs no retry"
        steps += own
    assert steps["hand_back"] >= 1
    assert steps[UNSEEN] == 0
    # What is read of the queue as a whole is the same.
    assert Counter(one.step for one in daemon.inspector.timeline.recent()) == steps


def test_a_reload_switches_it_on_and_off(daemon: Daemon) -> None:
    proc = daemon.start()

    def is_noted() -> bool:
        task_id = daemon.enqueue("fine")
        assert daemon.settled(task_id) == ""
        return any(one.step == "done" for one in daemon.inspector.timeline.of_task(task_id))

    assert not is_noted()
    daemon.configure(**KEEP)
    proc.signal(signal.SIGHUP)
    eventually(is_noted, 20)
    daemon.configure()
    proc.signal(signal.SIGHUP)
    eventually(lambda: not is_noted(), 20)
