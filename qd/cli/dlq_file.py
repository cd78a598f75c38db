"""Dead tasks as lines of JSON, and back."""

from __future__ import annotations

import base64
import binascii
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from qd import jsoncodec
from qd.cli.progress import progress
from qd.cli.render import as_json, plural
from qd.cli.selection import Filter, matching
from qd.cli.session import Session
from qd.cli.types import parse_moment
from qd.errors import ExitCode, QdError, TaskIdConflict, UsageError

if TYPE_CHECKING:
    from qd.inspector.views import TaskView
    from qd.protocol.message import TaskMessage


def export_tasks(session: Session, name: str, chosen: Filter) -> None:
    """Write the dead tasks that match, as `TaskView.as_dict` with the payload as base64 as well."""
    from qd.protocol.state import TaskState

    count = 0
    with _writing(name) as file, progress("exporting", None) as advance:
        now = session.out.now.timestamp()
        for task in matching(session, [TaskState.ARCHIVED], chosen):
            view = task.view(now=now)
            if view.missing or view.undecodable:
                session.out.say(f"{view.id} in {view.queue} cannot be read and is left out")
                continue
            file.write(as_json(_line(view)) + "\n")
            count += 1
            advance(1)
    session.out.say(f"{plural(count, 'dead task')} exported")


def import_tasks(session: Session, name: str, queue: str | None) -> None:
    """Store the tasks of a file as dead; exit code 4 if some were refused, 1 if all were."""
    stored, refused = 0, list[dict[str, Any]]()
    queue = None if queue is None else session.stored(queue)
    with _reading(name) as file, progress("importing", None) as advance:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                _store(session, _message(line, queue))
                stored += 1
            except (UsageError, TaskIdConflict) as error:
                refused.append({"line": number, "error": str(error)})
                session.out.say(f"line {number}: {error}")
            advance(1)
    sentence = f"{plural(stored, 'dead task')} imported"
    if refused:
        sentence += f", {plural(len(refused), 'line')} refused"
    document = {"imported": stored, "refused": refused}
    session.out.result("qd.dlq.import/1", document, sentence, str(stored))
    if refused:
        click.get_current_context().exit(ExitCode.PARTLY if stored else ExitCode.FAILED)


def _line(view: TaskView) -> dict[str, Any]:
    return view.as_dict() | {"payload_base64": base64.b64encode(view.payload).decode()}


def _store(session: Session, message: TaskMessage) -> None:
    from qd.protocol import codec
    from qd.protocol.ops import tasks

    step = tasks.dead_letter(
        message.queue, message.id, codec.encode_task(message), now=int(time.time())
    )
    if not session.link.execute_many([tasks.announce([message.queue]), step])[1]:
        raise TaskIdConflict(f"id {message.id} is in use in queue {message.queue}")


def _message(line: str, queue: str | None) -> TaskMessage:
    """Return the task of one line. Raises UsageError if the line is no exported task."""
    from qd.protocol import names
    from qd.protocol.message import TaskMessage, Terms

    found = _Fields(line)
    terms = Terms(
        queue=queue or found.text("queue"),
        max_retry=found.number("max_retry"),
        retried=found.number("retried"),
        error=found.text("error", ""),
        timeout=found.number("timeout"),
        deadline=found.moment("deadline"),
        unique_key=found.text("unique_key", ""),
        last_failed_at=found.moment("last_failed_at"),
        retention=found.number("retention"),
        group=found.text("group", ""),
        headers=found.headers(),
    )
    message = TaskMessage(found.text("type"), found.payload(), found.text("id"), terms)
    try:
        names.check_queue(message.queue)
        names.check_type(message.type)
        names.check_id(message.id)
    except QdError as error:
        raise UsageError(str(error)) from error
    return message


class _Fields:
    """The fields of one line, each read as what it must be."""

    def __init__(self, line: str) -> None:
        try:
            self._found = jsoncodec.loads(line)
        except ValueError as error:
            raise UsageError(f"not JSON: {error}") from error
        if not isinstance(self._found, dict):
            raise UsageError("not a JSON object")

    def text(self, name: str, default: str | None = None) -> str:
        value = self._found.get(name, default)
        if not isinstance(value, str):
            raise UsageError(f'"{name}" is missing or not text')
        return value

    def number(self, name: str) -> int:
        value = self._found.get(name, 0)
        if not isinstance(value, int) or not 0 <= value < 2**63:
            raise UsageError(f'"{name}" is not a whole number of 0 or more')
        return value

    def moment(self, name: str) -> int:
        """Unix seconds; 0 if there is none."""
        value = self._found.get(name)
        if value is None:
            return 0
        try:
            moment: datetime = parse_moment(str(value))
        except ValueError as error:
            raise UsageError(f'"{name}": {error}') from error
        return int(moment.timestamp())

    def headers(self) -> tuple[tuple[str, str], ...]:
        value = self._found.get("headers") or {}
        if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
            raise UsageError('"headers" does not map text to text')
        return tuple(value.items())

    def payload(self) -> bytes:
        encoded = self._found.get("payload_base64")
        if encoded is not None:
            try:
                return base64.b64decode(str(encoded), validate=True)
            except binascii.Error as error:
                raise UsageError(f'"payload_base64" is not base64: {error}') from error
        text = self._found.get("payload_text")
        if isinstance(text, str):
            return text.encode()
        payload = self._found.get("payload")
        return b"" if payload is None else jsoncodec.dumps(payload)


@contextmanager
def _writing(name: str) -> Iterator[TextIO]:
    if name == "-":
        yield sys.stdout
        return
    with _opened(name, lambda path: path.open("x", encoding="utf-8")) as file:
        yield file


@contextmanager
def _reading(name: str) -> Iterator[TextIO]:
    if name == "-":
        yield sys.stdin
        return
    with _opened(name, lambda path: path.open(encoding="utf-8")) as file:
        yield file


def _opened(name: str, opener: Callable[[Path], TextIO]) -> TextIO:
    try:
        return opener(Path(name))
    except OSError as error:
        raise UsageError(f"{name!r} cannot be opened: {error.strerror}") from error
