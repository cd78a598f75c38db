"""Run a coroutine to its end on a loop that it shares with code of the user."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_log = logging.getLogger("qd.worker")


def run_to_the_end(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, T]) -> T:
    """
    Run *main* and return its result; the loop is left as it is, open.

    `sys.exit` in a task that a handler has started stops an event loop. Here it goes on, and the
    exit is an error of whoever awaits that task.
    """
    task = loop.create_task(main)
    while True:
        try:
            return loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as leaving:
            if task.done():
                raise
            _log.error("this process goes on, although a task in it raised %r", leaving)
