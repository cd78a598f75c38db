"""
Fail points: places at which a process can be made to die, hang or fail, to see what becomes of tasks.

`QD_FAILPOINT=NAME:ACTION[:N]` makes the Nth process that comes by (the first, if N is left out) act,
and no other one, counted over all processes of one daemon. For tests only. `POINTS` has the names.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping

from msgspec import Struct

from qd.errors import ConfigError
from qd.suggest import did_you_mean

VARIABLE = "QD_FAILPOINT"

POINTS: Mapping[str, str] = {
    # a worker
    "ready.before": "it may take tasks, its supervisor does not know yet",
    "dequeue.before": "slots are free, nothing was asked for",
    "dequeue.after": "tasks are in its name, none was given to a slot",
    "handler.before": "a task is noted as running, its handler was not called",
    "handler.after": "the handler has returned, nothing is decided",
    "once.claimed": "a side effect is claimed, it has not begun",
    "once.done": "a side effect has happened, nobody has noted it",
    "once.noted": "a side effect is noted as done, the handler does not know yet",
    "ending.before": "outcomes are decided, none was sent",
    "ending.after": "outcomes are written, the worker does not know yet",
    "extend.before": "leases are to be renewed, nothing was sent (in the thread of the heartbeat)",
    "extend.after": "leases are renewed, the worker does not know yet (in the same thread)",
    "requeue.before": "it stops; what still runs was not put back",
    "requeue.after": "it stops; what still runs was put back, its code was not cancelled",
    "stop.drained": "it stops; all outcomes are written, its presence was not taken away",
    # a worker that has ended a link of a flow, or a scheduler in its place
    "flow.ended": "a link has ended, its flow does not know",
    "flow.told": "the flow knows, what follows is not enqueued",
    "flow.enqueued": "what follows is enqueued, the flow does not know",
    "flow.confirmed": "the flow knows that as well, the end of the link is still noted",
    # a scheduler, or a worker where there is none
    "hand_back.before": "a death is known, the tasks were not handed back",
    "hand_back.after": "the tasks of a dead worker were handed back, nobody has said so",
    # a scheduler
    "forward.before": "tasks are due, none was moved",
    "forward.after": "due tasks were moved",
    "recover.before": "leases that have run out were listed, nothing was moved",
    "recover.after": "tasks whose leases ran out were moved",
    "cron_tick.before": "a tick is due, nothing was enqueued",
    "cron_tick.after": "a tick was decided, the scheduler does not know yet",
    "aggregate.staged": "a group's tasks are set apart, none was read",
    "aggregate.read": "they were read, the aggregator was not called",
    "aggregate.before": "they are merged, the one task was not enqueued",
    "aggregate.after": "the one task is enqueued, theirs are deleted",
    "delete_expired.before": "completed tasks may be over, none was deleted",
    "delete_expired.after": "completed tasks that were over are deleted",
    # a supervisor
    "fork.before": "a child is wanted, none was forked",
    "fork.child": "the child exists and has done nothing, not even listened for signals",
    "fork.after": "the child exists, the supervisor has not noted it",
    "reap.after": "a dead child was collected, what it held was not noted",
    "news.before": "a death is noted, nobody was told",
    "news.after": "somebody was told of a death",
}

_STDERR = 2
_DELAY = 1.0
_MOST = 4096
"""What a pipe holds at least."""


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _freeze() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _raise() -> None:
    raise RuntimeError("a fail point")


def _leave() -> None:
    os._exit(1)


def _dawdle() -> None:
    time.sleep(_DELAY)


ACTIONS: Mapping[str, Callable[[], None]] = {
    "kill": _die,
    "stop": _freeze,
    "exc": _raise,
    "exit": _leave,
    "delay": _dawdle,
}


class _Armed(Struct, frozen=True):
    """A point with its action. *passes* is a pipe with a byte for each visit, the last one a `!`."""

    name: str
    action: str
    passes: int

    def visit(self) -> None:
        # All processes of a daemon read the same pipe, so one of them, and only one, gets the `!`.
        if os.read(self.passes, 1) == b"!":
            # One write, so that no other process's line can come between.
            os.write(_STDERR, f"fail point {self.name}: {self.action}\n".encode())
            ACTIONS[self.action]()


_armed: _Armed | None = None


def hit(name: str) -> None:
    """Say that a process has come by here. Does nothing, in 40 ns, unless the point is armed."""
    if _armed is not None and _armed.name == name:
        _armed.visit()


def arm(env: Mapping[str, str]) -> str:
    """
    Arm what QD_FAILPOINT names, for this process and all that it forks; returns it, or nothing.

    Raises:
        ConfigError: There is no such point or action.
    """
    global _armed
    _armed = None
    text = env.get(VARIABLE, "")
    if not text:
        return ""
    name, action, count = _parse(text)
    passes, write_end = os.pipe()
    os.write(write_end, b"." * (count - 1) + b"!")
    os.close(write_end)
    _armed = _Armed(name, action, passes)
    return text


def _parse(text: str) -> tuple[str, str, int]:
    name, _, rest = text.partition(":")
    action, _, number = rest.partition(":")
    problems = []
    if name not in POINTS:
        problems.append(f'{VARIABLE}: no fail point "{name}".{did_you_mean(name, POINTS)}')
    if action not in ACTIONS:
        problems.append(f'{VARIABLE}: no action "{action}"; write one of: {", ".join(ACTIONS)}')
    count = int(number or 1) if number.isdecimal() or not number else 0
    if not 1 <= count <= _MOST:
        problems.append(f'{VARIABLE}: "{number}" is no count from 1 to {_MOST}')
    if problems:
        raise ConfigError(problems, hint=f"Write {VARIABLE}=NAME:ACTION[:N], or unset it.")
    return name, action, count
