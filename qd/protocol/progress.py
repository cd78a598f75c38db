"""How far a running task says it is: the value, and its bytes in the field `qd_progress`."""

from __future__ import annotations

from math import isfinite
from typing import Any

from msgspec import Struct

from qd import jsoncodec
from qd.errors import UsageError

NOTE_MAX = 200
"""Characters of a note that are kept."""


class Progress(Struct, frozen=True):
    """
    *done* of *total* (None: nobody knows how much there is), said at *at* (Unix seconds).

    What is done may be more than the total: it is shown as it was said.
    """

    done: float
    total: float | None = None
    note: str = ""
    at: float = 0.0

    @property
    def share(self) -> float | None:
        """The part that is done, 0 to 1; None where the total is not known."""
        if self.total is None or self.total <= 0:
            return None
        return min(max(self.done / self.total, 0.0), 1.0)

    def as_dict(self) -> dict[str, Any]:
        return {"done": self.done, "total": self.total, "note": self.note, "at": self.at}

    def __str__(self) -> str:
        """Text for people, such as `40% (4 of 10) encoding`."""
        of = f"{self.done:,g}" if self.total is None else f"{self.done:,g} of {self.total:,g}"
        text = of if self.share is None else f"{self.share:.0%} ({of})"
        return f"{text} {self.note}".rstrip()


def checked(done: float, total: float | None, note: str) -> Progress:
    """
    Return progress as a handler tells it.

    Raises:
        UsageError: *done* or *total* is no finite number.
    """
    try:
        if isfinite(done) and (total is None or isfinite(total)):
            text = str(note)[:NOTE_MAX].encode("utf-8", "replace").decode()
            return Progress(done, total, text)
    except TypeError:
        pass
    raise UsageError(f"progress({done!r}, {total!r}): give numbers, such as progress(4, 10)")


def encode(progress: Progress) -> bytes:
    """Return the bytes."""
    return jsoncodec.dumps(progress.as_dict())


def decode(data: bytes | None) -> Progress | None:
    """Return what the bytes say; None if there are none, or they say something else."""
    try:
        found = jsoncodec.loads(data or b"")
        total = found["total"]
        return Progress(
            float(found["done"]),
            None if total is None else float(total),
            str(found["note"]),
            float(found["at"]),
        )
    except (ValueError, TypeError, KeyError):
        return None
