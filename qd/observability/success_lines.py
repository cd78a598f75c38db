"""
The one log line that is written for every task: "done". Made cheap, because there is one for each.

Lines look exactly like those of `logs`, but are put together without the logging module and
written once per turn of the loop: about 1 us a line instead of 20.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from typing import TextIO

from qd import jsoncodec
from qd.observability.logs import JsonFormatter, TextFormatter, one_line

_REMEMBERED = 1024


class SuccessLines:
    """
    Writes to the handler that `logs.set_up` installed.

    *call_soon* runs a function at the end of the present turn of the loop.
    """

    def __init__(
        self,
        handler: logging.StreamHandler[TextIO],
        role: str,
        *,
        as_json: bool,
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self._handler = handler
        self._as_json = as_json
        self._call_soon = call_soon
        self._role = f"{role}[{os.getpid()}]" if not as_json else role
        self._lines: list[str] = []
        self._second = 0
        self._second_text = ""
        self._kinds: dict[tuple[str, str], tuple[str, str]] = {}

    def done(self, task_type: str, task_id: str, queue: str, attempt: int, took: float) -> None:
        """Note that a task succeeded; *took* is in seconds."""
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._second_text = self._format_second(second)
        head, tail = self._kinds.get((task_type, queue)) or self._kind(task_type, queue)
        millisecond = int((now - second) * 1000)
        if self._as_json:
            shown = task_id if _is_plain(task_id) else jsoncodec.dumps(task_id).decode()[1:-1]
            line = (
                f'{{"time":"{self._second_text}.{millisecond:03d}+00:00"{head}'
                f'"message":"done in {took:.3f} s"{tail}"task_id":"{shown}","attempt":{attempt},'
                f'"duration":{took:.6f}}}\n'
            )
        else:
            shown = task_id if task_id.isprintable() else one_line(task_id)
            line = (
                f"{self._second_text}.{millisecond:03d} {head} done in {took:.3f} s "
                f" id={shown} {tail} attempt={attempt}\n"
            )
        if not self._lines:
            self._call_soon(self.flush)
        self._lines.append(line)

    def flush(self) -> None:
        """Write what has been noted."""
        lines, self._lines = self._lines, []
        handler = self._handler
        handler.acquire()
        try:
            if isinstance(handler, WatchedFileHandler):
                handler.reopenIfNeeded()
                if handler.stream is None:
                    handler.stream = handler._open()
            handler.stream.write("".join(lines))
            handler.flush()
        except (OSError, ValueError):
            pass  # a full disk or a closed stream must not stop the tasks
        finally:
            handler.release()

    def _format_second(self, second: int) -> str:
        moment = datetime.fromtimestamp(second, UTC)
        if self._as_json:
            return moment.strftime("%Y-%m-%dT%H:%M:%S")
        return moment.astimezone().strftime("%H:%M:%S")

    def _kind(self, task_type: str, queue: str) -> tuple[str, str]:
        """Return what is the same in all lines about tasks of one type in one queue."""
        if self._as_json:
            fields = {
                "level": "info",
                "logger": "qd.task",
                "role": self._role,
                "pid": os.getpid(),
            }
            head = f",{jsoncodec.dumps(fields).decode()[1:-1]},"
            facts = {"event": "done", "type": task_type, "queue": queue}
            tail = f",{jsoncodec.dumps(facts).decode()[1:-1]},"
        else:
            head = f"INFO    {self._role} {one_line(task_type)}"
            tail = f"queue={one_line(queue)}"
        if len(self._kinds) >= _REMEMBERED:
            self._kinds.clear()
        self._kinds[task_type, queue] = head, tail
        return head, tail


def _is_plain(text: str) -> bool:
    return text.isprintable() and '"' not in text and "\\" not in text


def success_lines(
    call_soon: Callable[[Callable[[], None]], object],
) -> SuccessLines | None:
    """Return a writer for this process, or None if `logs.set_up` was not called in it."""
    for handler in logging.getLogger().handlers:
        formatter = handler.formatter
        if isinstance(handler, logging.StreamHandler) and isinstance(
            formatter, (JsonFormatter, TextFormatter)
        ):
            as_json = isinstance(formatter, JsonFormatter)
            return SuccessLines(handler, formatter.role, as_json=as_json, call_soon=call_soon)
    return None
