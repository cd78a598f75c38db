"""What a test may name as the task to run: a task with its arguments, or one that is stored already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qd.app.app import App
from qd.app.handle import TaskHandle
from qd.app.workers import prefixed_queues
from qd.client.builder import TaskBuilder
from qd.client.client import NewEnqueue
from qd.client.info import TaskInfo
from qd.errors import KitError, QdError, UsageError
from qd.protocol.ops import kit as ops
from qd.protocol.state import TaskState
from qd.suggest import did_you_mean
from qd.testing.stored import StoredTask

Runnable = TaskHandle[Any, Any] | TaskBuilder | NewEnqueue | TaskInfo | StoredTask | str
"""
What `@app.task` gave back, with its arguments; the name of a type, with its payload; a builder; an item for
`enqueue_many`; or a task that is in Redis.
"""


@dataclass(frozen=True)
class Called:
    """A stored task that is the next of its queue."""

    id: str
    type: str
    queue: str


def type_of(task: Any) -> str:
    """The name of a task type, from that or from what `@app.task` gave back."""
    found = getattr(task, "type", task)
    if not isinstance(found, str):
        raise UsageError(
            f"{found!r} is no task type", hint="Give its name, or what @app.task gave back."
        )
    return found


def call(app: App, task: Runnable, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Called:
    """
    Store a task as its producer would, if it is not, and let it be the next of its queue.

    Raises:
        KitError: No handler takes the type, or no worker the queue.
        QdError: Whatever the enqueue raises.
    """
    if isinstance(task, (TaskInfo, StoredTask)):
        if args or kwargs:
            raise UsageError(
                "a stored task has its payload already", hint="Leave the arguments out."
            )
        called = Called(task.id, task.type, task.queue)
    else:
        called = _enqueue(app, _new(app, task, args, kwargs))
    served = prefixed_queues(app.settings)
    if called.queue not in served:
        raise KitError(
            f"no worker would run {called.type}: queue {called.queue!r} is not among "
            f"{', '.join(served)}.{did_you_mean(called.queue, served)}",
            hint="Correct the queue of the task, or add it to `queues` in the configuration.",
        )
    inspector = app.inspector()
    state = inspector.tasks.get(called.queue, called.id).state
    if state != TaskState.PENDING:
        # Delayed, in a group, dead: whatever it waits for, the test wants it now.
        inspector.tasks.run(called.queue, called.id)
    app.operator_link().execute_many(ops.to_the_head(called.queue, called.id))
    return called


def _new(app: App, task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> NewEnqueue:
    if isinstance(task, TaskHandle):
        new = task.new(*args, **kwargs)
    elif isinstance(task, str):
        if len(args) > 1 or (args and kwargs):
            raise UsageError(
                f"{task!r} was given by its name, with more than a payload",
                hint="Give one payload, or its fields by name.",
            )
        new = NewEnqueue(task, args[0] if args else (kwargs or None))
    elif isinstance(task, (TaskBuilder, NewEnqueue)):
        if args or kwargs:
            raise UsageError(
                f"this {task.type} has its payload already", hint="Leave the arguments out."
            )
        body = task.body if isinstance(task, TaskBuilder) else task.payload
        new = NewEnqueue(task.type, body, task.options)
    else:
        raise UsageError(
            f"{task!r} is no task", hint="Give what @app.task gave back, or the name of a type."
        )
    if app.router.find(new.type) is None:
        raise KitError(
            f"app {app.name!r} has no handler for {new.type!r}.{did_you_mean(new.type, app.router.patterns)}",
            hint="Import the module that registers it.",
        )
    return new


def _enqueue(app: App, new: NewEnqueue) -> Called:
    (info,) = app.client.enqueue_many([new])
    if isinstance(info, QdError):
        raise info
    if info.dropped:
        raise KitError(f"{new.type} was dropped: queue {info.queue!r} has no room (`backpressure`)")
    return Called(info.id, info.type, info.queue)
