"""A task looked at in passing: enough to tell whether it is meant, at a tenth of the cost of a view."""

from __future__ import annotations

from msgspec import Struct

from qd.errors import DecodeError
from qd.inspector.describe import describe
from qd.inspector.views import TaskView
from qd.protocol import codec
from qd.protocol.op import text
from qd.protocol.ops.inspect import Container, Cursor, Outlines, Stored, whole
from qd.protocol.state import TaskState


class Place(Struct, frozen=True):
    """Where a walk over tasks stands: in which container, and behind which of its tasks."""

    container: Container
    cursor: Cursor


class Glance:
    """
    One task of a page. What is asked for is decoded when it is asked for.

    Fields of a message that cannot be read are empty.
    """

    __slots__ = ("_fields", "_index", "_page", "_row", "container")

    def __init__(self, container: Container, page: Outlines, index: int) -> None:
        self.container = container
        self._page = page
        self._index = index
        self._row = page.rows[index]
        self._fields: dict[int, int | bytes] | None = None

    @property
    def id(self) -> str:
        return text(self._row.id)

    @property
    def queue(self) -> str:
        return self.container.queue

    @property
    def state(self) -> TaskState:
        return self.container.state

    @property
    def type(self) -> str:
        return text(self._field(codec.TYPE) or b"")

    @property
    def payload(self) -> bytes:
        found = self._field(codec.PAYLOAD)
        return found if isinstance(found, bytes) else b""

    @property
    def error(self) -> str:
        """The error of its last attempt, or else of what its worker died."""
        found = self._field(codec.ERROR) or self._row.cause
        return text(found) if found else ""

    @property
    def since(self) -> float | None:
        """Unix seconds since when it is in its state; None where that is not known."""
        row = self._row
        match self.container.state:
            case TaskState.ARCHIVED | TaskState.AGGREGATING:
                return float(row.score or 0)
            case TaskState.PENDING:
                since = whole(row.pending_since)
                return None if since is None else since / 1e9
            case TaskState.RETRY | TaskState.COMPLETED as state:
                field = codec.FAILED_AT if state is TaskState.RETRY else codec.COMPLETED_AT
                found = self._field(field)
                return float(found) if found and isinstance(found, int) else None
            case _:
                return None

    @property
    def place(self) -> Place:
        """Where to go on behind this task."""
        return Place(self.container, self._page.after(self._index))

    def view(self, *, now: float) -> TaskView:
        """Return the view of the task, without owner, lease, result, group and lock."""
        row = self._row
        stored = Stored(
            text(row.id),
            self.container.state,
            row.message or b"",
            score=float(row.score) if row.score else None,
            pending_since_ns=whole(row.pending_since),
            group=self.container.group,
            deaths=whole(row.deaths) or 0,
            cause=text(row.cause or b""),
        )
        return describe(stored, self.queue, self.state, now=now)

    def _field(self, number: int) -> int | bytes | None:
        if self._fields is None:
            try:
                self._fields = codec.skim(self._row.message or b"")
            except DecodeError:
                self._fields = {}
        return self._fields.get(number)
