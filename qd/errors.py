"""
Every error qd raises, with its exit code and a hint, and the directives handlers raise.

One tree, one file. An error says what happened (with the value), why, and, in `hint`, what to
try; the command line prints both and exits with `exit_code`. Directives are not errors: a handler
raises one to say how its task ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every `qd` command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    PARTLY = 4
    NEEDS_CONFIRMATION = 5
    QUEUE_FULL = 6
    REDIS = 69
    CRASH_LOOP = 75
    CONFIG = 78
    TIMED_OUT = 124


class QdError(Exception):
    """Base of all errors of qd."""

    exit_code: ExitCode = ExitCode.FAILED
    hint: str = ""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint


class UsageError(QdError):
    """A call or a command line that cannot mean anything; correct it and call again."""

    exit_code = ExitCode.USAGE


class InvalidDuration(UsageError, ValueError):
    """Text or a value that is not a duration; the message says what to write instead."""


class CronError(UsageError, ValueError):
    """A cron spec, or its time zone, that cannot be read; the message names the field and why."""


class ConfigError(QdError):
    """The configuration has problems; `problems` lists all of them, one line each."""

    exit_code = ExitCode.CONFIG

    def __init__(self, problems: Sequence[str], *, hint: str | None = None) -> None:
        super().__init__("\n".join(problems), hint=hint)
        self.problems = list(problems)


class AppLoadError(QdError):
    """`--app` names something that is missing (exit 2) or that raised while imported (exit 1)."""

    def __init__(
        self, message: str, *, hint: str | None = None, exit_code: ExitCode = ExitCode.USAGE
    ) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class ProtocolError(QdError):
    """Something on the wire, or meant for it, breaks asynq's format."""


class DecodeError(ProtocolError):
    """Bytes are not the message they should be; the bytes stay where they are."""


class InvalidName(ProtocolError, ValueError):
    """A queue, type, id or group name that no reader could handle; choose another one."""

    exit_code = ExitCode.USAGE


class PayloadError(QdError):
    """A payload is not JSON or does not fit the handler's types; the task is dead-lettered."""


class PayloadTooLarge(QdError):
    """A payload exceeds `payload_limit`; store the data elsewhere and pass a reference."""

    exit_code = ExitCode.USAGE


class BrokerError(QdError):
    """Redis, or what is stored in it, stands in the way."""


class BrokerUnavailable(BrokerError):
    """
    No answer from Redis, or one that means "not now" (LOADING, CLUSTERDOWN ...).

    The step may or may not have happened. Repeat it only if it is safe to repeat.
    """

    exit_code = ExitCode.REDIS
    hint = "Is the server running and reachable? Check `redis.addrs` with `qd config show`."


class BrokerRefused(BrokerError):
    """Redis answered, and the answer is no: wrong password, missing right, wrong kind of key."""

    exit_code = ExitCode.REDIS


class BrokerFull(BrokerError):
    """Redis is at `maxmemory` and takes no new data; nothing was written."""

    exit_code = ExitCode.REDIS
    hint = "Let the workers drain the queues, or raise `maxmemory`."


class NotFound(BrokerError):
    """Something that was asked for by name does not exist."""

    exit_code = ExitCode.NOT_FOUND


class QueueNotFound(NotFound):
    """No queue of this name has ever been written to."""


class TaskNotFound(NotFound):
    """No task with this id in this queue; it may have ended without retention."""


class FlowNotFound(NotFound):
    """No flow with this id; it may have ended, and been kept as long as it was to be."""


class WrongState(BrokerError):
    """The task is in a state in which this cannot be done; nothing was changed."""


class QueueNotEmpty(BrokerError):
    """The queue still has tasks; drain it, purge it, or force the removal."""


class DuplicateTask(BrokerError):
    """Another task holds the uniqueness lock; `holder` is its id. Nothing was enqueued."""

    def __init__(self, message: str, *, holder: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.holder = holder


class TaskIdConflict(BrokerError):
    """The id is in use; `holder` is the id and `state` where that task is. Nothing was enqueued."""

    def __init__(
        self, message: str, *, holder: str = "", state: str = "", hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.holder = holder
        self.state = state


class FlowIdConflict(BrokerError):
    """There is a flow with this id, or another call is storing one; nothing of this one was kept."""


class QueueFull(BrokerError):
    """
    The queue has no room (`backpressure`); nothing was enqueued.

    `size` tasks wait or run in `queue`; from `limit` on new ones are refused.
    """

    exit_code = ExitCode.QUEUE_FULL

    def __init__(self, queue: str, size: int, limit: int, max_size: int) -> None:
        super().__init__(
            f"queue {queue} is full: {size:,} tasks wait or run in it, and from {limit:,} on (of "
            f"max_size {max_size:,}) new ones are refused",
            hint="Try again when workers have caught up; or start more of them, or raise "
            "backpressure.max_size.",
        )
        self.queue = queue
        self.size = size
        self.limit = limit


class NeedsConfirmation(QdError):
    """A destructive command without a terminal to ask on; repeat it with -y."""

    exit_code = ExitCode.NEEDS_CONFIRMATION


class CrashLoop(QdError):
    """The worker processes keep dying before they are ready; the supervisor gave up."""

    exit_code = ExitCode.CRASH_LOOP


class TimedOut(QdError):
    """What was waited for did not happen in time."""

    exit_code = ExitCode.TIMED_OUT


class TaskDirective(Exception):
    """Base of what handlers raise to say how their task ends. Never logged as an error."""


class SkipRetry(TaskDirective):
    """Dead-letter the task now, whatever retries are left."""


class RevokeTask(TaskDirective):
    """Forget the task: it counts as processed, and nothing of it is kept."""


class RetryAfter(TaskDirective):
    """Fail this attempt and run the next one `delay` seconds from now; it uses up a retry."""

    def __init__(self, delay: float | str, reason: str = "") -> None:
        super().__init__(reason or f"retry after {delay}")
        self.delay = delay


class Snooze(TaskDirective):
    """Run again `delay` seconds from now; not a failure, uses up no retry."""

    def __init__(self, delay: float | str, reason: str = "") -> None:
        super().__init__(reason or f"snoozed for {delay}")
        self.delay = delay


class NotYet(Snooze):
    """
    A poll's answer (`@app.poll`): what it waits for is not done, look again later.

    The next look comes after the poll's own delay, or after `delay`. Not a failure, uses up no retry; the
    note is shown with the task. In a task that is no poll, it is a `Snooze` of three seconds.
    """

    def __init__(self, note: str = "", delay: float | str | None = None) -> None:
        super().__init__(3.0 if delay is None else delay, note or "not yet")
        self.has_delay = delay is not None


class KitError(QdError):
    """A test kit cannot do what a test asks of it, or the test asks for what never ends."""


class HandlerNotFound(QdError):
    """No handler takes this task type; the text is asynq's, and the task is retried."""

    def __init__(self, task_type: str) -> None:
        super().__init__(
            f'handler not found for task "{task_type}"',
            hint="Import the module that registers it in the module named by --app.",
        )


class TaskFailed(QdError):
    """The result of a task was asked for, and the task is dead; the message has its last error."""

    hint = "See it with `qd dlq show ID`; `qd dlq requeue ID` brings it back."


class FlowStopped(QdError):
    """The result of a flow was asked for, and a link is dead or gone; the message says which and why."""

    hint = "See it with `qd flow show ID`; a dead link goes on after `qd dlq requeue`."


class TaskTimeout(QdError):
    """
    The task's time limit was reached; raised inside synchronous handlers.

    The text is Go's, so that tools which look for it find it.
    """

    def __init__(self) -> None:
        super().__init__("context deadline exceeded")


class TaskCancelled(QdError):
    """Somebody asked for the task to be cancelled; raised inside synchronous handlers."""

    def __init__(self) -> None:
        super().__init__("context canceled")


class EffectInDoubt(QdError):
    """
    A run before this one has begun a side effect and died: nobody knows whether it happened.

    Raised by `ctx.once` only if it was asked to. Find out where the effect would show, then call it
    again without `doubt="raise"`, or leave it.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"once({key!r}): an earlier run may have done this, and has not noted it")
        self.key = key


class LeaseLost(QdError):
    """The task was given to another worker; whatever this run does now is not recorded."""

    def __init__(self) -> None:
        super().__init__("asynq: task lease expired")
