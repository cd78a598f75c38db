"""
One pass through the whole life of a daemon, with one fail point armed.

All kinds of tasks are enqueued; a daemon runs them, loses a worker, is stopped in the middle of some.
At one step a process dies, fails, or stands still. A second daemon then does what is left, and everything must be as
if nothing had happened.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import qd
from qd.failpoint import POINTS
from qd.protocol import keys
from qd.protocol.flow import Place
from tests.chaos import dump, invariants
from tests.process.daemon import QUEUE, Daemon
from tests.support.procs import Proc
from tests.support.wait import eventually

APP = "tests.chaos.every_step"
CONCURRENCY = 10

_SETTINGS: dict[str, dict[str, Any]] = {
    "worker": {"processes": 2, "concurrency": CONCURRENCY, "shutdown_timeout": "200ms"},
    "scheduler": {
        "recover_interval": "200ms",
        "janitor_interval": "300ms",
        "group": {"grace_period": "1s", "max_size": 3},
    },
    "schedule": {"tick": {"spec": "@every 1s", "type": "tick"}},
}

_STAGED = f"{keys.prefix(QUEUE)}aggregation_sets"
_LATER_FORKS = ("fork.before", "fork.after", "fork.child")
_AFTER_A_LEASE = ("recover.before", "recover.after")
_AT_A_HEARTBEAT = ("extend.before", "extend.after")
_AT_THE_STOP = ("requeue.before", "requeue.after", "stop.drained")
_AFTER_A_DEATH = ("reap.after", "news.before", "news.after", "hand_back.before", "hand_back.after")
_WHEN_ASKED = (*_AFTER_A_DEATH, *_AT_A_HEARTBEAT, *_AT_THE_STOP)
_HIT_WITHIN = 20.0


@dataclass(frozen=True)
class Armed:
    """A fail point with its action, and what must be expected of it."""

    point: str
    action: str

    def __str__(self) -> str:
        return f"{self.point}:{self.action}"

    @property
    def spec(self) -> str:
        # Not the first child: there shall be brothers that see what happens.
        return f"{self}:{2 if self.point in _LATER_FORKS else 1}"

    @property
    def doubles(self) -> int:
        """How many tasks may end twice: those that a dying worker has ended and not yet written."""
        step = self.point.partition(".")[0]
        if self.charges:
            return 1
        at_work = step in (
            "ready",
            "dequeue",
            "handler",
            "once",
            "ending",
            "flow",
            "extend",
            "requeue",
            "stop",
        )
        return CONCURRENCY if at_work and self.action in ("kill", "stop") else 0

    @property
    def charges(self) -> int:
        """How many attempts may be counted: to raise in a handler's place is to fail."""
        return int(self.point.startswith(("handler.", "once.")) and self.action == "exc")


_OF_A_SUPERVISOR = ("fork", "reap", "news")

ALL = (
    *(Armed(point, action) for point in POINTS for action in ("kill", "exc")),
    # A supervisor that is frozen does nothing, and nobody watches it but systemd.
    *(Armed(one, "stop") for one in POINTS if one.partition(".")[0] not in _OF_A_SUPERVISOR),
)
"""Half of them is one second's work each; the others wait for a lease of 15 s, or for suspects."""

SHORT = tuple(
    Armed(*text.split(":"))
    for text in (
        "dequeue.after:kill",
        "ending.before:exc",
        "ending.after:kill",
        "requeue.before:kill",
        "fork.after:kill",
        "cron_tick.after:kill",
        "aggregate.before:kill",
        "flow.ended:kill",
        "flow.told:kill",
        "flow.enqueued:exc",
        "flow.confirmed:kill",
    )
)


def pass_through(daemon: Daemon, armed: Armed) -> list[str]:
    """Let it happen; returns what is wrong afterwards, a sentence each."""
    began = time.time()
    settings = dict(_SETTINGS)
    if armed.action == "stop":
        settings["worker"] = {**settings["worker"], "watchdog": "3s"}
    daemon.configure(redis={"addrs": [daemon.server.url]}, queues={QUEUE: 1}, **settings)
    ids = _enqueue(daemon)
    if armed.point in _AFTER_A_LEASE:
        ids.append(_enqueue_lost(daemon))
    first = daemon.command("worker", "--app", APP, env={"QD_FAILPOINT": armed.spec})
    complaints, held = _first_daemon(daemon, first, armed, ids)
    daemon.let_go()
    second = daemon.start(app=APP)
    with suppress(AssertionError):
        eventually(lambda: not _missing(daemon, [*ids, *held]) and _settled(daemon), 40)
    second.signal(signal.SIGTERM)
    if second.wait(15) != 0:
        complaints.append("the second daemon did not stop in order")
    complaints += _judge(daemon, armed, [*ids, *held], time.time() - began)
    if complaints:
        print(first.err.text(), second.err.text(), sep="\n")
    return complaints


def _enqueue(daemon: Daemon) -> list[str]:
    """Some tasks of each kind."""
    ids = [daemon.enqueue("slow") for _ in range(20)]
    ids += [daemon.enqueue("slow", process_in=0.5) for _ in range(3)]
    ids += [daemon.enqueue("slow", retention="1s") for _ in range(3)]
    ids += [daemon.enqueue("part", group="g") for _ in range(6)]
    ids += [daemon.enqueue("paid") for _ in range(3)]
    link = daemon.app.new_task("slow").queue(QUEUE)
    flow = (link >> qd.gather([link, link]) >> link).enqueue()
    ids += [Place(flow.id, number).task_id for number in range(1, 5)]
    return ids


def _enqueue_lost(daemon: Daemon) -> str:
    """A task that a host still seems to hold which is gone."""
    lost = daemon.enqueue("slow")
    daemon.raw.lrem(keys.pending(QUEUE), 0, lost)
    daemon.raw.lpush(keys.active(QUEUE), lost)
    daemon.raw.zadd(keys.lease(QUEUE), {lost: int(time.time()) - 60})
    daemon.raw.hset(keys.task(QUEUE, lost), mapping={"state": "active", "qd_owner": "lost"})
    daemon.raw.hdel(keys.task(QUEUE, lost), "pending_since")
    return lost


def _first_daemon(
    daemon: Daemon, proc: Proc, armed: Armed, ids: list[str]
) -> tuple[list[str], list[str]]:
    """Make it come by the point, and stop it; what is wrong with that, and what it leaves."""

    def is_hit() -> bool:
        return _is_hit(proc, armed)

    def has_ended() -> bool:
        return not Path(f"/proc/{proc.pid}").exists() or _is_zombie(proc.pid)

    def has_worked() -> bool:
        if is_hit():
            _let_aggregations_expire(daemon)
        done = not _missing(daemon, ids) and _settled(daemon)
        return done and (is_hit() or armed.point in _WHEN_ASKED)

    with suppress(AssertionError):
        eventually(lambda: has_ended() or has_worked(), _HIT_WITHIN)
    held = [daemon.enqueue("hold") for _ in range(3)]
    eventually(lambda: has_ended() or len(daemon.events("start", held[-1])) == 1, _HIT_WITHIN)
    if armed.point in _AFTER_A_DEATH:
        os.kill(daemon.events("start", held[0])[0].pid, signal.SIGKILL)
        eventually(lambda: is_hit() or has_ended(), _HIT_WITHIN)
    if armed.point in _AT_A_HEARTBEAT:
        # To show that it is quiet is a heartbeat.
        proc.signal(signal.SIGTSTP)
        eventually(is_hit, _HIT_WITHIN)
        proc.signal(signal.SIGCONT)
    return _stop(daemon, proc, armed), held


def _let_aggregations_expire(daemon: Daemon) -> None:
    """As if two minutes had passed, after which another scheduler may merge a group."""
    for staged in daemon.raw.zrange(_STAGED, 0, -1):
        daemon.raw.zadd(_STAGED, {staged: int(time.time())}, xx=True)


def _stop(daemon: Daemon, proc: Proc, armed: Armed) -> list[str]:
    complaints = []
    with suppress(ProcessLookupError):
        proc.signal(signal.SIGTERM)
    try:
        proc.wait(15)
    except AssertionError:
        complaints.append("the daemon did not stop")
        proc.signal(signal.SIGKILL)
    if not _is_hit(proc, armed):
        complaints.append("nobody came by the fail point")
    # Children whose parent is gone put back what they hold, and go as well.
    try:
        eventually(lambda: not _family_of(daemon), 10)
    except AssertionError:
        complaints.append("children have outlived their parent")
        for pid in _family_of(daemon):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return complaints


def _judge(daemon: Daemon, armed: Armed, acked: list[str], seconds: float) -> list[str]:
    complaints = [f"task {task_id} was never ended" for task_id in _missing(daemon, acked)]
    complaints += [
        f"task {task.id} is left, {task.state}"
        for task in dump.read(daemon.raw).tasks
        if task.id in acked and not _is_kept(task.id)
    ]
    ends = [event.id for event in daemon.events("end")]
    doubles = len(ends) - len(set(ends))
    if doubles > armed.doubles:
        complaints.append(f"{doubles} tasks ended twice")
    charged = sum(event.attempt > 1 for event in daemon.events("end"))
    if charged > armed.charges:
        complaints.append(f"{charged} retries were charged")
    ticks = {event.id for event in daemon.events("tick")}
    if len(ticks) > ceil(seconds) + 1:
        complaints.append(f"{len(ticks)} ticks in {seconds:.1f} s")
    found = invariants.check(daemon.raw, acked=acked, ended=ends)
    # A process that dies while it shows itself leaves half a record, which ends by itself.
    return complaints + [one for one in found if not one.startswith("I12")]


def _missing(daemon: Daemon, ids: list[str]) -> list[str]:
    ended = {event.id for event in daemon.events("end")}
    return [task_id for task_id in ids if task_id not in ended]


def _settled(daemon: Daemon) -> bool:
    """True if nothing waits for its time, its group, its end or a flow; ticks come and go."""
    sets = (keys.scheduled(QUEUE), keys.retry(QUEUE), keys.groups(QUEUE), keys.flows(""))
    completed = (one.decode() for one in daemon.raw.zrange(keys.completed(QUEUE), 0, -1))
    return not daemon.raw.exists(_STAGED, *sets) and all(map(_is_kept, completed))


def _is_kept(task_id: str) -> bool:
    """Links of flows stay for an hour."""
    return task_id.startswith("flow:")


def _is_hit(proc: Proc, armed: Armed) -> bool:
    return bool(proc.err.all(rf"^fail point {armed.point}: {armed.action}$"))


def _is_zombie(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def _family_of(daemon: Daemon) -> list[int]:
    """All processes that this daemon has started, whoever their parent is now."""
    mark = f"TEST_JOURNAL={daemon.journal}\0".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                if mark in (folder / "environ").read_bytes() + b"\0":
                    found.append(int(folder.name))
    return found
