"""
Operations that look at tasks and change nothing.

A container is what holds the ids of the tasks in one state: a list (pending, active) or a sorted
set. It is read page by page; a `Cursor` says where the last page ended and stays right while tasks
come and go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from msgspec import Struct

from qd.protocol import keys
from qd.protocol.op import Op, command, script, text
from qd.protocol.progress import Progress, decode
from qd.protocol.scripts import Script
from qd.protocol.state import TaskState

T = TypeVar("T")

_READ_TASK = Script("read_task")
_READ_LIST_PAGE = Script("read_list_page")
_READ_SET_PAGE = Script("read_set_page")
_FIND_PLACE = Script("find_place")

_PAGE_BYTES = 4 * 1024 * 1024
"""A page ends when about so much was read: payloads may be large, and a script blocks Redis."""

_LOOK_AHEAD = 500_000
"""Tasks of a line among which one is looked for: some 5 ms."""

_MARKS = 200
"""Ids that a cursor remembers of a list."""

_KEYS = {
    TaskState.PENDING: keys.pending,
    TaskState.ACTIVE: keys.active,
    TaskState.SCHEDULED: keys.scheduled,
    TaskState.RETRY: keys.retry,
    TaskState.ARCHIVED: keys.archived,
    TaskState.COMPLETED: keys.completed,
}


class Container(Struct, frozen=True):
    """Where the tasks of one state are; for `aggregating` there is one for each group."""

    queue: str
    state: TaskState
    group: str = ""

    @property
    def key(self) -> str:
        if self.state is TaskState.AGGREGATING:
            return keys.group(self.queue, self.group)
        return _KEYS[self.state](self.queue)

    @property
    def is_list(self) -> bool:
        return self.state in (TaskState.PENDING, TaskState.ACTIVE)


class Stored(Struct, frozen=True):
    """
    A task as it is stored. Not `exists`: it is listed, but its hash is gone.

    `score` is the one in its sorted set; that and `lease_until` are Unix seconds.
    """

    id: str
    state: str
    message: bytes
    exists: bool = True
    score: float | None = None
    lease_until: float | None = None
    pending_since_ns: int | None = None
    unique_key: str = ""
    group: str = ""
    result: bytes | None = None
    owner: str = ""
    deaths: int = 0
    cause: str = ""
    waits: str = ""
    progress: Progress | None = None


class Cursor(Struct, frozen=True):
    """How far a container was read; the first one may pass over *offset* tasks."""

    offset: int = 0
    score: bytes = b""
    ids: tuple[bytes, ...] = ()


class Page(Struct, frozen=True):
    """Some tasks in the order of their container; none means that it ends here."""

    tasks: list[Stored]
    cursor: Cursor


class Outline(NamedTuple):
    """As much of a task as tells whether it is meant, as Redis gives it; None is not there."""

    id: bytes
    score: bytes | None
    message: bytes | None
    pending_since: bytes | None
    deaths: bytes | None
    cause: bytes | None


class Outlines(Struct, frozen=True):
    """A page of outlines. `first` is how far from its begin the container was read before."""

    rows: list[Outline]
    first: int
    before: Cursor

    def after(self, index: int) -> Cursor:
        """Where to go on behind one of the rows; -1 is the last one."""
        index %= len(self.rows)
        if self.rows[index].score is not None:
            return Cursor(0, self.rows[index].score or b"", (self.rows[index].id,))
        seen = [row.id for row in self.rows[: index + 1]]
        return Cursor(self.first + index + 1, b"", (*self.before.ids, *seen)[-_MARKS:])


def read_task(queue: str, task_id: str) -> Op[Stored | None]:
    """All that is known of one task; None when there is none with this id."""

    def parse(reply: Any) -> Stored | None:
        found = _stored(reply)
        return found if found.exists else None

    return script(
        _READ_TASK,
        [
            keys.scheduled(queue),
            keys.retry(queue),
            keys.archived(queue),
            keys.completed(queue),
            keys.lease(queue),
        ],
        [keys.task_prefix(queue), task_id],
        parse,
    )


def read_page(source: Container, cursor: Cursor, *, limit: int) -> Op[Page]:
    """Up to *limit* tasks behind *cursor*; fewer, at least one, when they are large."""
    return (_list_page if source.is_list else _set_page)(source, cursor, limit)


def read_outlines(source: Container, cursor: Cursor, *, limit: int) -> Op[Outlines]:
    """As `read_page`, but only the outlines: several times as fast."""
    if source.is_list:
        return _list_script(
            source,
            cursor,
            limit,
            lambda reply: Outlines(
                [
                    Outline(one, None, *fields)
                    for one, fields in zip(reply[2], reply[1], strict=True)
                ],
                reply[0] - len(reply[1]),
                cursor,
            ),
            outline=True,
        )

    def parse(reply: Any) -> Outlines:
        found, rows = reply
        # Where the page was cut for its size, fewer rows were read than were found.
        scored = zip(found[::2], found[1::2], rows, strict=False)
        return Outlines([Outline(one, score, *fields) for one, score, fields in scored], 0, cursor)

    return _set_script(
        source,
        cursor,
        limit,
        parse,
        outline=True,
    )


def _list_page(source: Container, cursor: Cursor, limit: int) -> Op[Page]:
    def parse(reply: Any) -> Page:
        offset, tasks, _ = reply
        marks = (*cursor.ids, *(one[0] for one in tasks))[-_MARKS:]
        return Page([_stored(one) for one in tasks], Cursor(offset, b"", marks))

    return _list_script(source, cursor, limit, parse, outline=False)


def _set_page(source: Container, cursor: Cursor, limit: int) -> Op[Page]:
    def parse(reply: Any) -> Page:
        after = Cursor(0, reply[-1][1], (reply[-1][0],)) if reply else cursor
        return Page([_stored(one) for one in reply], after)

    return _set_script(source, cursor, limit, parse, outline=False)


def _list_script(
    source: Container, cursor: Cursor, limit: int, parse: Callable[[Any], T], *, outline: bool
) -> Op[T]:
    return script(
        _READ_LIST_PAGE,
        [source.key, keys.lease(source.queue)],
        [
            keys.task_prefix(source.queue),
            source.state,
            cursor.offset,
            limit,
            _PAGE_BYTES,
            "1" if outline else "",
            *cursor.ids,
        ],
        parse,
    )


def _set_script(
    source: Container, cursor: Cursor, limit: int, parse: Callable[[Any], T], *, outline: bool
) -> Op[T]:
    return script(
        _READ_SET_PAGE,
        [source.key],
        [
            keys.task_prefix(source.queue),
            cursor.score,
            cursor.ids[0] if cursor.ids else "",
            cursor.offset,
            limit,
            _PAGE_BYTES,
            "1" if outline else "",
        ],
        parse,
    )


def read_ids(source: Container, *, offset: int, limit: int) -> Op[list[str]]:
    """Ids of a container in its order, without their tasks."""

    def parse(reply: Any) -> list[str]:
        return [text(one) for one in reply]

    if source.is_list:
        # Read from the tail, where the next one to run is.
        return command(
            "LRANGE", [source.key], [-offset - limit, -offset - 1], lambda r: parse(r)[::-1]
        )
    return command("ZRANGE", [source.key], [offset, offset + limit - 1], parse)


def count(source: Container) -> Op[int]:
    """How many ids a container holds."""
    return command("LLEN" if source.is_list else "ZCARD", [source.key], [], int)


def read_message(queue: str, task_id: str) -> Op[bytes | None]:
    """The message of a task; None if it is gone."""
    return command("HGET", [keys.task(queue, task_id)], ["msg"], lambda reply: reply)


def place(queue: str, task_id: str) -> Op[int | None]:
    """How many pending tasks are taken before this one; None if it is not among the first 500,000."""
    return script(
        _FIND_PLACE,
        [keys.pending(queue)],
        [task_id, _LOOK_AHEAD],
        lambda reply: None if reply[1] < 0 else int(reply[1]),
    )


def lock(unique_key: str) -> list[Op[Any]]:
    """The task that has a uniqueness lock ("" if none has), and for how many milliseconds."""
    return [
        command("GET", [unique_key], [], lambda reply: text(reply or b"")),
        command("PTTL", [unique_key], [], int),
    ]


def _stored(fields: Sequence[Any]) -> Stored:
    (
        id_,
        score,
        lease,
        exists,
        state,
        message,
        since,
        unique,
        group,
        result,
        owner,
        deaths,
        cause,
        waits,
        told,
    ) = fields
    return Stored(
        id=text(id_),
        state=text(state or b""),
        message=message or b"",
        exists=bool(exists),
        score=float(score) if score else None,
        lease_until=float(lease) if lease else None,
        pending_since_ns=whole(since),
        unique_key=text(unique or b""),
        group=text(group or b""),
        result=result,
        owner=text(owner or b""),
        deaths=whole(deaths) or 0,
        cause=text(cause or b""),
        waits=text(waits or b""),
        progress=decode(told),
    )


def whole(value: Any) -> int | None:
    """Return a stored number; None for nothing, or for something that is not a number."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
