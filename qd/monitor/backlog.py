"""What is in the queues, read when somebody asks, and at most once a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct, field

from qd.broker.link import Link
from qd.errors import BrokerError
from qd.inspector.inspector import Inspector
from qd.inspector.views import QueueView
from qd.protocol import keys
from qd.protocol.op import Op, command

_GOOD_FOR = 1.0
"""Seconds in which everybody who asks gets the same answer."""


class Backlog(Struct, frozen=True):
    """
    All queues, and `lateness`: how many seconds ago the first delayed task of each was due.

    Empty while Redis does not answer; `error` says why, and is "" otherwise.
    """

    queues: Sequence[QueueView] = ()
    lateness: dict[str, float] = field(default_factory=dict)
    error: str = ""


class BacklogReader:
    """Reads the backlog over *link*; for any thread. *clock* gives Unix seconds."""

    def __init__(self, link: Link, clock: Callable[[], float] = time.time) -> None:
        self._link = link
        self._inspector = Inspector(link, clock=clock)
        self._clock = clock
        self._lock = threading.Lock()
        self._latest = Backlog()
        self._read_at = float("-inf")

    def read(self) -> Backlog:
        """Return the backlog of this second. Never raises for what Redis does."""
        with self._lock:
            if time.monotonic() - self._read_at > _GOOD_FOR:
                try:
                    self._latest = self._look()
                except BrokerError as error:
                    self._latest = Backlog(error=str(error))
                self._read_at = time.monotonic()
            return self._latest

    def _look(self) -> Backlog:
        queues = self._inspector.queues.all(memory=True)
        steps = [
            _first(key)
            for one in queues
            for key in (keys.scheduled(one.name), keys.retry(one.name))
        ]
        due = iter(self._link.execute_many(steps) if steps else ())
        now = self._clock()
        lateness = {one.name: max(0.0, now - min(next(due), next(due))) for one in queues}
        return Backlog(queues, lateness)


def _first(key: str) -> Op[float]:
    """The time of the first task of a sorted set; infinity if there is none."""
    return command("ZRANGE", [key], [0, 0, "WITHSCORES"], _score)


def _score(reply: Any) -> float:
    flat = reply[0] if reply and isinstance(reply[0], list) else reply
    return float(flat[1]) if flat else float("inf")
