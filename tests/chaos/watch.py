"""Looks at a server again and again while a scene is played: what may never fall, and what did."""

from __future__ import annotations

import threading
import time

import redis

from tests.chaos import dump, invariants
from tests.chaos.dump import Dump
from tests.support.servers import RedisServer

_EVERY = 1.0
_SHARE = 20
"""Seconds from one look to the next, and at least so many times as long as the last one took of Redis."""


class Watch:
    """
    Compares each dump with the one before: fences (I6), counters (I7), retries (I8), ticks (I13).

    Begins when it is made. `stop` returns the breaches; `looks` counts the comparisons.
    """

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._breaches: list[str] = []
        self._stopping = threading.Event()
        self.looks = 0
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def stop(self) -> list[str]:
        """Look no more; may be called again."""
        self._stopping.set()
        self._thread.join()
        return self._breaches

    def _run(self) -> None:
        before: Dump | None = None
        with self._server.client() as client:
            took = 0.0
            while not self._stopping.wait(max(_EVERY, _SHARE * took)):
                began = time.monotonic()
                try:
                    now = dump.read(client)
                except redis.RedisError:
                    continue  # It is away, as the scene has it; nothing may have fallen then either.
                took = time.monotonic() - began
                if before is not None:
                    self._breaches += invariants.changes(before, now)
                    self.looks += 1
                before = now
