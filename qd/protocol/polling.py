"""What a poll remembers from run to run: the value, and its text in a header of the task's message."""

from __future__ import annotations

from collections.abc import Iterable

from qd import jsoncodec
from qd.policy.poll import Polling

HEADER = "qd-poll"
"""In the message, so that every tool that puts a task back keeps it, those of asynq among them."""


def read(headers: Iterable[tuple[str, str]]) -> Polling | None:
    """Return what the headers of a task say; None if it has not looked, or they say something else."""
    text = dict(headers).get(HEADER)
    if not text:
        return None
    try:
        found = jsoncodec.loads(text.encode())
        return Polling(int(found["looks"]), float(found["since"]), float(found["until"] or 0))
    except (ValueError, TypeError, KeyError):
        return None


def write(polling: Polling) -> str:
    """Return the header's value; times are rounded to milliseconds."""
    until = round(polling.until, 3) if polling.until else None
    document = {"looks": polling.looks, "since": round(polling.since, 3), "until": until}
    return jsoncodec.dumps(document).decode()


def forget(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the headers of a poll that begins anew."""
    return tuple(pair for pair in headers if pair[0] != HEADER)
