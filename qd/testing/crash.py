"""
Runs a task in a worker process of its own that is killed at a certain point, and buries it.

The process is a fork of the test's, killed by SIGKILL; what its supervisor would do then is done here.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from qd import failpoint
from qd.app.app import App
from qd.app.workers import limits_of_app, prefixed_queues
from qd.broker.connect import open_async_link
from qd.errors import KitError, TaskNotFound, UsageError
from qd.maintenance.orphans import hand_back
from qd.protocol.state import TaskState
from qd.runtime.threads import raise_in_thread
from qd.suggest import did_you_mean
from qd.supervisor import linux
from qd.supervisor.reaper import Ending, reap
from qd.supervisor.running import RunningTable
from qd.testing.calls import Called
from qd.testing.ran import Ran
from qd.testing.returning import on_return
from qd.testing.stage import open_stage
from qd.testing.stored import StoredTask

Point = str | Callable[..., Any]

POINTS = {
    name: what
    for name, what in failpoint.POINTS.items()
    if name.partition(".")[0] in ("dequeue", "handler", "once", "ending", "stop")
}
"""The fail points that a worker comes by while it runs a task."""

_LONGEST_TEXT = 4000


@dataclass(frozen=True)
class Crash:
    """
    What a killed worker process has left.

    - `point`: where it was killed; `ending`: how, in the words of its supervisor
    - `task`: the task after what was left was handed back; None if it is gone, because it had ended
    """

    point: str
    ending: str
    task: StoredTask | None

    @property
    def state(self) -> str:
        """pending if it will run again, completed, retry, archived; empty if it is gone."""
        return "" if self.task is None else self.task.state


def name_of(point: Point) -> str:
    """
    Return what to call a point in messages.

    Raises:
        UsageError: There is no such fail point.
    """
    if callable(point):
        return f"return of {getattr(point, '__qualname__', point)}"
    if point not in POINTS:
        listed = "".join(f"\n  {name:15} {what}" for name, what in POINTS.items())
        raise UsageError(
            f"a worker that runs a task passes no point {point!r}.{did_you_mean(point, POINTS)}",
            hint=f"Give a function, to be killed when it returns, or one of:{listed}",
        )
    return point


async def crash(app: App, called: Called, point: Point) -> Crash:
    """
    Run the next task of a queue in a process that dies at *point*; then hand back what it held.

    Raises:
        KitError: It came to its end without passing there, or could not start.
    """
    ending, table, told = await _run_to_death(app, called, point)
    try:
        if ending.signal != signal.SIGKILL:
            where = name_of(point)
            raise KitError(
                f"{called.type} never came by the {where if callable(point) else f'point {where!r}'}: "
                f"{told or ending}",
                hint="The task was run all the same; give it what makes it go there.",
            )
        task = _read(app, called)
        if task is not None and task.state == TaskState.ACTIVE:
            await _bury(app, task.view.owner, str(ending), table.read())
            task = _read(app, called)
        return Crash(name_of(point), str(ending), task)
    finally:
        table.close()


async def _bury(app: App, owner: str, cause: str, running: list[str]) -> None:
    link = open_async_link(app.connection.endpoint)
    try:
        await hand_back(
            link,
            list(prefixed_queues(app.settings)),
            owner,
            cause,
            running,
            # Nobody knows who has sent a SIGKILL, in production either.
            killed=True,
            limits=[one.bounds for one in limits_of_app(app)],
        )
    finally:
        await link.close()


def _read(app: App, called: Called) -> StoredTask | None:
    try:
        return StoredTask(app.inspector().tasks.get(called.queue, called.id))
    except TaskNotFound:
        return None


async def _run_to_death(app: App, called: Called, point: Point) -> tuple[Ending, RunningTable, str]:
    table = RunningTable()
    read_end, write_end = os.pipe()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with warnings.catch_warnings():
        # The child runs nothing but a worker, and no thread of the test is needed there.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os.close(read_end)
        _child(app, called, point, table, write_end)
    os.close(write_end)
    # Not collected yet: the pid stays its own until `reap` has dealt with what it has started.
    ended = asyncio.ensure_future(
        asyncio.to_thread(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    )
    try:
        await asyncio.shield(ended)
    finally:
        os.kill(pid, signal.SIGKILL)
        await ended
        ending = reap(pid) or Ending()
        told = _read_all(read_end)
        os.close(read_end)
    return ending, table, told.decode("utf-8", "replace")


def _read_all(pipe: int) -> bytes:
    # What the handler has forked may have it open still.
    os.set_blocking(pipe, False)
    parts: list[bytes] = []
    with suppress(BlockingIOError):
        while part := os.read(pipe, _LONGEST_TEXT):
            parts.append(part)
    return b"".join(parts)


def _child(app: App, called: Called, point: Point, table: RunningTable, tell: int) -> NoReturn:
    """The worker process; nothing of the test's goes on in here."""
    try:
        linux.terminate_with_parent(signal.SIGKILL)
        # What the handler starts is killed with it, as under a supervisor.
        os.setpgid(0, 0)
        # Nothing that belongs to the test, such as its open files, is finalized here.
        gc.freeze()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        if callable(point):
            _forget_lost_exceptions()
            on_return(point, lambda: os.kill(os.getpid(), signal.SIGKILL))
        else:
            failpoint.arm({failpoint.VARIABLE: f"{point}:kill"})
        thread = threading.Thread(target=_work, args=(app, called, table, tell), daemon=True)
        thread.start()
        thread.join()
    except BaseException:  # noqa: BLE001 - the last thing that this process says
        os.write(tell, traceback.format_exc()[-_LONGEST_TEXT:].encode())
    finally:
        os._exit(1)


def _forget_lost_exceptions() -> None:
    """
    Let no exception wait that was meant for a thread which the fork has not taken along.

    Python 3.11 would look for it at every step, and get no further where a profiler watches. It forgets
    them all when a thread takes its own.
    """
    with suppress(_Taken):
        raise_in_thread(threading.get_ident(), _Taken)
        for _ in range(1000):
            pass


class _Taken(BaseException):
    pass


def _work(app: App, called: Called, table: RunningTable, tell: int) -> None:
    # A thread of its own: the one of the test may be inside of an event loop.
    def note(key: str, until: float | None) -> None:
        if until is None:
            table.end(key)
        else:
            table.start(key, until)

    def say(ran: Ran) -> None:
        os.write(tell, f"{ran}\n".encode()[:_LONGEST_TEXT])

    async def work() -> None:
        async with open_stage(app, say, most=1, note_running=note) as stage:
            if not await stage.next([called.queue]):
                os.write(tell, f"queue {called.queue!r} gave no task; is it paused?\n".encode())

    try:
        asyncio.run(work())
    except BaseException:  # noqa: BLE001 - as above
        os.write(tell, traceback.format_exc()[-_LONGEST_TEXT:].encode())
