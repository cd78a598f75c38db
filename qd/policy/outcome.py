"""
Decide what happens to a task when its run has ended.

Used by the worker (a handler ended) and by the recoverer (a worker was lost), so both always agree.
How long to wait is decided in `retry`; what changes in Redis is written in `qd/protocol/lua/`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

from qd.errors import PayloadError, RetryAfter, RevokeTask, SkipRetry, Snooze

_ERROR_MAX = 8 * 1024
"""Bytes of an error text that are stored."""


class Action(StrEnum):
    DONE = "done"
    REVOKE = "revoke"
    """It is gone as well, because its handler said that it is not wanted any more."""
    COMPLETE = "complete"
    RETRY = "retry"
    ARCHIVE = "archive"
    PARK = "park"
    """It has not run: it waits until a gate lets it pass."""


class Outcome(Struct, frozen=True):
    """What to do with a task: the action, and for a retry the delay in seconds."""

    action: Action
    error: str = ""
    delay: float = 0.0
    is_failure: bool = True


DONE = Outcome(Action.DONE)
COMPLETE = Outcome(Action.COMPLETE)


def succeeded(retention: int) -> Outcome:
    """The outcome of a run that ended well."""
    return COMPLETE if retention > 0 else DONE


def failed(
    error: BaseException,
    *,
    retried: int,
    max_retry: int,
    delay: Callable[[], float],
    is_failure: bool = True,
) -> Outcome:
    """
    The outcome of a run that ended with *error*.

    *delay* gives the seconds to wait, asked only if the task is retried. *is_failure* False means
    an expected "not yet": the retry is not counted, but without retries left the task is archived
    all the same, as in asynq.
    """
    if isinstance(error, RevokeTask):
        return Outcome(Action.REVOKE)
    text = describe(error)
    if isinstance(error, Snooze):
        return Outcome(Action.RETRY, text, delay(), is_failure=False)
    if isinstance(error, (SkipRetry, PayloadError)) or retried >= max_retry:
        return Outcome(Action.ARCHIVE, text)
    if isinstance(error, RetryAfter):
        return Outcome(Action.RETRY, text, delay())
    return Outcome(Action.RETRY, text, delay(), is_failure)


def describe(error: BaseException) -> str:
    """
    Return the text of an error as it is stored with the task: valid UTF-8, at most 8 KiB.

    Invalid text in a message would keep Go servers from decoding it, so it is replaced.
    """
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - the error is the user's, and so is the method
        message = ""
    if type(error).__module__ != "qd.errors":
        name = type(error).__name__
        message = f"{name}: {message}" if message else name
    elif not message:
        message = type(error).__name__
    return storable(message)


def storable(text: str) -> str:
    """Return *text* as it can stand in a message: valid UTF-8, at most 8 KiB of it."""
    raw = text.encode("utf-8", "replace")
    if len(raw) > _ERROR_MAX:
        raw = raw[: _ERROR_MAX - 3] + b"..."
    return raw.decode("utf-8", "ignore")
