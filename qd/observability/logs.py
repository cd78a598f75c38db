"""Log lines: readable text on a terminal, one JSON object a line elsewhere."""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

from qd import jsoncodec

FACTS = "qd_facts"
"""
Under this name a line about a run has its facts, by the names they have in JSON.

Of text they stand behind the sentence, if they are no part of it.
"""

_SHOWN = {"task_id": "id", "queue": "queue", "attempt": "attempt"}

STARTS = "qd.task.start"
"""The logger of the lines that say that a task has begun."""

_OWN_FRAMES = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep  # noqa: PTH100, PTH120 - at every start
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_COLOURS = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m", "DEBUG": "\x1b[2m"}


class TextFormatter(logging.Formatter):
    """`12:34:56.789 INFO  worker[41] email:send done in 0.003 s  id=... queue=high`."""

    def __init__(self, role: str, *, colour: bool) -> None:
        super().__init__()
        self.role = role
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created).astimezone()
        message = one_line(record.getMessage())
        tail = ""
        facts = record.__dict__.get(FACTS)
        if facts:
            message = f"{one_line(facts['type'])} {message}"
            tail = "".join(f" {_SHOWN[k]}={one_line(str(facts[k]))}" for k in _SHOWN)
        line = (
            f"{moment:%H:%M:%S}.{int(record.msecs):03d} {record.levelname:<7} "
            f"{self.role}[{record.process}] {message}{' ' + tail if tail else ''}"
        )
        if self._colour and record.levelname in _COLOURS:
            line = f"{_COLOURS[record.levelname]}{line}\x1b[0m"
        if record.exc_info and record.exc_info[1] is not None:
            line += "\n" + own_traceback(record.exc_info[1], full=_is_debug())
        details = getattr(record, "details", "")
        if details:
            line += "\n" + "\n".join(map(one_line, details.splitlines()))
        return line


class JsonFormatter(logging.Formatter):
    """
    One object a line: time, level, logger, role, process, message.

    A line about a run says in `event` what happened: start, done, retry, snoozed, dead, revoked or
    cancelled. Its facts are fields: type, task_id, queue, attempt, duration, delay, next_at, error.
    """

    def __init__(self, role: str) -> None:
        super().__init__()
        self.role = role

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "role": self.role,
            "pid": record.process,
            "message": record.getMessage().encode("utf-8", "backslashreplace").decode(),
        }
        facts = record.__dict__.get(FACTS)
        if facts:
            line.update(facts)
            if "delay" in facts:
                next_at = datetime.fromtimestamp(record.created + facts["delay"], UTC)
                line["next_at"] = next_at.isoformat(timespec="milliseconds")
        if record.exc_info and record.exc_info[1] is not None:
            line["traceback"] = own_traceback(record.exc_info[1], full=_is_debug())
        elif getattr(record, "details", ""):
            line["details"] = record.__dict__["details"]
        return jsoncodec.dumps(line).decode()


def _is_debug() -> bool:
    return logging.getLogger("qd").isEnabledFor(logging.DEBUG)


def one_line(text: str) -> str:
    """Return *text* with control characters escaped, so that nobody can forge lines."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def own_traceback(error: BaseException, *, full: bool) -> str:
    """Return the traceback of *error*; without *full*, only frames outside of qd."""
    frames: TracebackType | None = error.__traceback__
    if not full:
        while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OWN_FRAMES):
            frames = frames.tb_next
    lines = traceback.format_exception(type(error), error, frames or error.__traceback__)
    # Half a surrogate pair in a message cannot be written as UTF-8.
    return "".join(lines).rstrip().encode("utf-8", "backslashreplace").decode()


def set_up(level: str, form: str, file: str, *, role: str, stream: TextIO | None = None) -> None:
    """
    Send this process's log lines where the settings say; replaces what was set up before.

    *form* auto is text on a terminal and JSON elsewhere. *file* is opened for appending and opened
    anew when it was moved away, so that logrotate needs nothing more.
    """
    out = stream or sys.stderr
    handler: logging.Handler
    if file:
        handler = logging.handlers.WatchedFileHandler(file, encoding="utf-8", delay=True)
    else:
        handler = logging.StreamHandler(out)
    terminal = not file and out.isatty()
    if form == "text" or (form == "auto" and terminal):
        colour = terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        handler.setFormatter(TextFormatter(role, colour=colour))
    else:
        handler.setFormatter(JsonFormatter(role))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("qd").setLevel(_LEVELS[level])
    # Whoever watches a terminal wants to see what begins; elsewhere it would double the lines.
    shown = terminal or level == "debug"
    logging.getLogger(STARTS).setLevel(logging.NOTSET if shown else logging.WARNING)
