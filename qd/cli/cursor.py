"""Where a listing has stopped, as a word that can be typed: `qd task ls --cursor`."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from qd.errors import UsageError

if TYPE_CHECKING:
    from qd.inspector.glance import Place

_MARKS = 10
"""Ids of a list that are remembered: as long as one of them stays, the place is found again."""


def encode(place: Place) -> str:
    cursor = place.cursor
    ids = [one.decode("latin-1") for one in cursor.ids[-_MARKS:]]
    container = place.container
    fields = [container.queue, container.state, container.group]
    text = json.dumps([*fields, cursor.offset, cursor.score.decode(), ids], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(text: str) -> Place:
    """Raises UsageError if the text is not what `encode` gives."""
    from qd.inspector.glance import Place
    from qd.protocol.ops.inspect import Container, Cursor
    from qd.protocol.state import TaskState

    try:
        found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        queue, state, group, offset, score, ids = found
        marks = tuple(one.encode("latin-1") for one in ids)
        return Place(
            Container(queue, TaskState(state), group), Cursor(int(offset), score.encode(), marks)
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(
            f'"{text}" is no cursor', hint="A listing that has more says how to go on."
        ) from error
