"""`qd enqueue --from-jsonl`: every line a task, in batches, refusals by line number."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from qd import jsoncodec
from qd.cli.progress import progress
from qd.cli.render import plural
from qd.cli.session import Session
from qd.cli.types import parse_moment
from qd.errors import ExitCode, QdError, UsageError
from qd.suggest import did_you_mean

if TYPE_CHECKING:
    from qd.client.client import NewEnqueue

_BATCH = 500
_MOMENTS = ("deadline", "process_at")


@dataclass(slots=True)
class _Tally:
    """What has become of the lines so far."""

    accepted: int = 0
    dropped: int = 0
    refused: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, session: Session, line: int, error: QdError) -> None:
        self.refused.append({"line": line, "error": str(error)})
        session.out.say(f"line {line}: {error}")


def enqueue_file(
    session: Session,
    name: str,
    task_type: str | None,
    options: Mapping[str, Any],
    *,
    dry_run: bool,
) -> None:
    """
    Enqueue the lines of a file; `options` hold for lines that say nothing else.

    Ends with exit code 4 if some lines were refused, with 1 if all were. If Redis fails half way,
    the error says which line was the last to be accepted for certain.
    """
    tally = _Tally()
    with _opened(name) as file, progress("enqueueing", None) as advance:
        for batch in _batches(file):
            _enqueue_batch(session, batch, task_type, options, tally, dry_run=dry_run)
            advance(len(batch))
    verb = "could be enqueued" if dry_run else "enqueued"
    sentence = f"{plural(tally.accepted, 'task')} {verb}"
    if tally.dropped:
        sentence += f", {tally.dropped} dropped, for their queue is full"
    if tally.refused:
        sentence += f", {plural(len(tally.refused), 'line')} refused"
    session.out.result(
        "qd.enqueue.file/1",
        {
            "accepted": tally.accepted,
            "dropped": tally.dropped,
            "refused": tally.refused,
            "dry_run": dry_run,
        },
        sentence,
        str(tally.accepted),
    )
    if tally.refused:
        code = ExitCode.PARTLY if tally.accepted else ExitCode.FAILED
        click.get_current_context().exit(code)


def _enqueue_batch(
    session: Session,
    batch: list[tuple[int, bytes]],
    task_type: str | None,
    options: Mapping[str, Any],
    tally: _Tally,
    *,
    dry_run: bool,
) -> None:
    new: list[NewEnqueue] = []
    lines: list[int] = []
    for number, text in batch:
        try:
            new.append(_task(text, task_type, options))
            lines.append(number)
        except QdError as error:
            tally.refuse(session, number, error)
    for number, outcome in zip(lines, _send(session, new, lines, dry_run=dry_run), strict=True):
        if isinstance(outcome, QdError):
            tally.refuse(session, number, outcome)
        elif outcome is not None and outcome.dropped:
            tally.dropped += 1
        else:
            tally.accepted += 1


def _send(session: Session, new: list[NewEnqueue], lines: list[int], *, dry_run: bool) -> list[Any]:
    if dry_run:
        return [_check(session, one) for one in new]
    try:
        return list(session.client.enqueue_many(new))
    except QdError as error:
        error.hint = (
            f"Lines before {lines[0]} are settled; lines {lines[0]} to {lines[-1]} may have been "
            f"accepted. {error.hint}"
        )
        raise


def _check(session: Session, new: NewEnqueue) -> QdError | None:
    from qd.app.client import make_composer

    composer = make_composer(session.settings)
    try:
        options = new.options.over(session.options_of(new.type))
        composer.compose(new.type, new.payload, options, now=session.out.now.timestamp())
    except QdError as error:
        return error
    return None


def _task(text: bytes, task_type: str | None, options: Mapping[str, Any]) -> NewEnqueue:
    """Read one line. Raises UsageError, or what an option raises."""
    from qd.client.client import NewEnqueue
    from qd.handlers.options import NAMES, TaskOptions

    try:
        content = jsoncodec.loads(text)
    except ValueError as error:
        raise UsageError(f"not JSON: {error}") from error
    base = TaskOptions.of(**options)
    if task_type is not None:
        return NewEnqueue(task_type, text, base)
    if not isinstance(content, dict) or not isinstance(content.get("type"), str):
        raise UsageError(
            'a line must be an object with "type", such as {"type": "a", "payload": 1}'
        )
    own = {name: value for name, value in content.items() if name not in ("type", "payload")}
    for name in own:
        if name not in NAMES:
            raise UsageError(f'"{name}" is no option of a task.{did_you_mean(name, NAMES)}')
    for name in _MOMENTS:
        if isinstance(own.get(name), str):
            try:
                own[name] = parse_moment(own[name])
            except ValueError as error:
                raise UsageError(f"{name}: {error}") from error
    return NewEnqueue(content["type"], content.get("payload"), TaskOptions.of(**own).over(base))


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 - closed below, whatever happens
    except OSError as error:
        raise UsageError(f"{name!r} cannot be read: {error.strerror}") from error
    with file:
        yield file


def _batches(file: BinaryIO) -> Iterator[list[tuple[int, bytes]]]:
    """Yield the lines that are not blank, with their numbers."""
    batch: list[tuple[int, bytes]] = []
    for number, line in enumerate(file, start=1):
        if line.strip():
            batch.append((number, line.strip()))
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
