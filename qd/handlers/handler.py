"""One registered handler: the function, how it is called, and what it says about its tasks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from qd.errors import UsageError
from qd.handlers.binding import Binding, bind
from qd.handlers.context import Context
from qd.handlers.options import NO_OPTIONS, TaskOptions
from qd.handlers.poll import Poll
from qd.handlers.task import Task
from qd.policy.retry import RetryPolicy

RetryDelay = Callable[[int, BaseException, Task], float]
"""A user's own rule: (retries used, error, task) -> seconds until the next attempt."""


class Handler(Struct, frozen=True):
    """
    A handler by its pattern. `is_async` tells whether `call` gives a coroutine.

    `call(ctx, task)` reads the payload and calls the user's function.
    """

    pattern: str
    function: Callable[..., Any]
    is_async: bool
    binding: Binding
    options: TaskOptions = NO_OPTIONS
    retry: RetryPolicy | RetryDelay | None = None
    limits: tuple[str, ...] = ()
    poll: Poll | None = None

    def call(self, ctx: Context, task: Task) -> Any:
        args, kwargs = self.binding.arguments(ctx, task)
        return self.function(*args, **kwargs)


def make_handler(
    pattern: str,
    target: Any,
    *,
    options: TaskOptions = NO_OPTIONS,
    retry: RetryPolicy | RetryDelay | None = None,
    limit: str | Sequence[str] = (),
    poll: Poll | None = None,
) -> Handler:
    """
    Return the handler for *target*: a function, or an object with `process_task(ctx, task)`.

    Raises:
        UsageError: It is neither, its signature cannot be served, or *retry* is no rule.
    """
    function = getattr(target, "process_task", target)
    if not callable(function):
        raise UsageError(
            f"handler for {pattern!r} is {type(target).__name__}, which cannot be called",
            hint="Give a function, or an object with a method process_task(ctx, task).",
        )
    if inspect.isclass(target):
        raise UsageError(
            f"handler for {pattern!r} is the class {target.__name__}, not an object of it",
            hint=f"Create it first: {target.__name__}(...)",
        )
    if not (retry is None or isinstance(retry, RetryPolicy) or callable(retry)):
        raise UsageError(
            f"retry of {pattern!r} is {retry!r}, which is no rule for delays",
            hint="Give a qd.RetryPolicy, such as qd.RetryPolicy(qd.RetryKind.FIXED, initial=300), "
            "or a function of the retries used, the error and the task.",
        )
    return Handler(
        pattern=pattern,
        function=function,
        # The former sees through functools.partial, the latter is for objects that are called.
        is_async=inspect.iscoroutinefunction(function)
        or inspect.iscoroutinefunction(type(function).__call__),
        binding=bind(function, pattern),
        options=options,
        retry=retry,
        limits=(limit,) if isinstance(limit, str) else tuple(limit),
        poll=poll,
    )
