"""How moments and payloads are shown: the parts that all views have in common."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

from qd import jsoncodec

_LATEST = datetime.max.replace(tzinfo=UTC)
_EARLIEST = datetime.min.replace(tzinfo=UTC)


def moment(seconds: float | None) -> datetime | None:
    """
    Return Unix *seconds* as an aware datetime in UTC; None for nothing, and for 0 ("never").

    What no calendar can hold becomes the last or the first moment of it.
    """
    if not seconds:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return _LATEST if seconds > 0 else _EARLIEST


def moment_ns(nanoseconds: int | None) -> datetime | None:
    """The same for nanoseconds; the last three digits are lost."""
    if not nanoseconds:
        return None
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    whole = moment(seconds)
    return whole and whole.replace(microsecond=rest // 1000)


def iso(when: datetime | None) -> str | None:
    """Return a moment as ISO 8601 in UTC, such as `2026-01-01T00:00:00Z`."""
    return None if when is None else when.astimezone(UTC).isoformat().replace("+00:00", "Z")


def content(name: str, data: bytes | None) -> dict[str, Any]:
    """
    Return bytes as three JSON fields, of which one at most is not null.

    `NAME` is the decoded value if the bytes are JSON, `NAME_text` the text if they are UTF-8 but not
    JSON, `NAME_base64` is for all other bytes. All are null when there are no bytes, and for the
    JSON value null.
    """
    shown: dict[str, Any] = {name: None, f"{name}_text": None, f"{name}_base64": None}
    if data:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            shown[f"{name}_base64"] = as_base64(data)
            return shown
        try:
            shown[name] = jsoncodec.loads(data)
        except (ValueError, RecursionError):
            shown[f"{name}_text"] = text
    return shown


def as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
