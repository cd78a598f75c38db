"""
The onion around handlers.

A middleware is `async def mw(ctx, task, call_next)`: it may do something before and after
`await call_next(ctx, task)`, change what comes back, or raise. The first one registered is the
outermost. Recovery, time limits, retry information, logging and metrics are part of every run
already (`runtime.executor`); middleware comes inside of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from qd.handlers.context import Context
from qd.handlers.task import Task

CallNext = Callable[[Context, Task], Awaitable[Any]]
Middleware = Callable[[Context, Task, CallNext], Awaitable[Any]]


def compose(middleware: Sequence[Middleware], innermost: CallNext) -> CallNext:
    """Return one function that runs *innermost* inside all of *middleware*."""
    call = innermost
    for one in reversed(middleware):
        call = _wrap(one, call)
    return call


def _wrap(middleware: Middleware, call_next: CallNext) -> CallNext:
    async def call(ctx: Context, task: Task) -> Any:
        return await middleware(ctx, task, call_next)

    return call
