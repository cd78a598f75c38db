"""Enqueues, and keeps the ids that were acknowledged: nothing else is ever asked for."""

from __future__ import annotations

import threading
import time
from typing import Any

from qd.app.client import make_client
from qd.app.connection import Connection
from qd.client.client import NewEnqueue
from qd.client.info import TaskInfo
from qd.config.load import from_mapping
from qd.errors import BrokerError
from qd.handlers.options import TaskOptions

_BATCH = 500


class Producer:
    """`acked` are the ids that Redis has accepted, with the moment (CLOCK_MONOTONIC) before the call."""

    def __init__(self, url: str) -> None:
        settings = from_mapping({"redis": {"addrs": [url]}})
        self._connection = Connection(settings)
        self._client = make_client(settings, self._connection)
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self.acked: dict[str, float] = {}

    def send(
        self, task_type: str, count: int = 1, payload: Any = None, **options: Any
    ) -> list[str]:
        """
        Enqueue so many tasks of a type; returns the ids that were accepted.

        *payload* may be a function: it makes each payload from the number of the task, from 0.
        """
        chosen = TaskOptions.of(**options)
        accepted: list[str] = []
        for first in range(0, count, _BATCH):
            size = min(_BATCH, count - first)
            at = time.monotonic()
            payloads = (
                [payload(n) for n in range(first, first + size)]
                if callable(payload)
                else [payload] * size
            )
            answers = self._client.enqueue_many(
                [NewEnqueue(task_type, one, chosen) for one in payloads]
            )
            ids = [one.id for one in answers if isinstance(one, TaskInfo)]
            self.acked.update(dict.fromkeys(ids, at))
            accepted += ids
        return accepted

    def start(self, task_type: str, *, rate: float, count: int, payload: Any = None) -> None:
        """Enqueue from a thread of its own, evenly, ten times a second; see `wait` and `halt`."""
        self._stopping.clear()
        self._thread = threading.Thread(
            target=self._steadily, args=(task_type, rate, count, payload), daemon=True
        )
        self._thread.start()

    def wait(self) -> None:
        """Until all that `start` was asked for is enqueued."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def halt(self) -> None:
        """Enqueue nothing more."""
        self._stopping.set()
        self.wait()

    def close(self) -> None:
        self.halt()
        self._client.close()
        self._connection.close()

    def _steadily(self, task_type: str, rate: float, count: int, payload: Any) -> None:
        began = time.monotonic()
        sent = 0
        while sent < count and not self._stopping.wait(0.1):
            due = min(count, int((time.monotonic() - began) * rate)) - sent
            if due > 0:
                try:
                    self.send(task_type, due, payload)
                except BrokerError:
                    continue  # Not acknowledged: nobody counts on them.
                sent += due
