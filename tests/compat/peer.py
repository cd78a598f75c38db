"""
qd on the server of a test: client, inspector, and workers in this process or in their own.

    peer.client.enqueue("ok", task_id="t1")
    with peer.working({"default": 1}): ...          # worker and scheduler in a thread
    with peer.processes({"default": 1}) as proc: ... # `qd worker`, ready
    peer.journal.wait("start", "t1")

What its handlers do is said in `apps/behaviours.py`; Go workers that are given `log=peer.journal.path`
write to the same journal.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import qd
from qd.broker.connect import open_link
from qd.inspector.inspector import Inspector
from tests.compat.apps.behaviours import install
from tests.support.procs import Proc, descendants_of, running
from tests.support.wait import eventually

SLOW = bool(os.environ.get("COMPAT_FULL"))
"""Whether tests that wait for minutes are wanted."""

PATIENCE = 20.0
"""Seconds to wait for what should take less than one: the machine may be busy."""


class Journal:
    """What handlers of both sides have written, a line per start and end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def events(self, event: str) -> list[dict[str, Any]]:
        """The starts or the ends so far, in order; a line that is being written is left out."""
        lines = self.path.read_text().split("\n")[:-1]
        return [one for one in map(json.loads, lines) if one["event"] == event]

    def ids(self, event: str) -> list[str]:
        return [one["id"] for one in self.events(event)]

    def counts(self, event: str) -> Counter[str]:
        """How often each task has started or ended."""
        return Counter(self.ids(event))

    def wait(self, event: str, task_id: str, within: float = PATIENCE) -> dict[str, Any]:
        """The first start or end of a task, once it is there."""
        found = eventually(
            lambda: [one for one in self.events(event) if one["id"] == task_id], within
        )
        return found[0]

    def wait_count(self, event: str, count: int, within: float = PATIENCE) -> None:
        """Until so many different tasks have started or ended."""
        wanted = b'"event":"' + event.encode() + b'"'
        spaced = wanted.replace(b":", b": ")

        def enough() -> bool:
            data = self.path.read_bytes()
            if data.count(wanted) + data.count(spaced) < count:
                return False
            return len(set(self.ids(event))) >= count

        deadline = time.monotonic() + within
        while not enough():
            assert time.monotonic() < deadline, f"{len(set(self.ids(event)))} of {count} {event}s"
            time.sleep(0.05)


class Peer:
    """qd's side. `addrs` are Redis addresses as in `redis.addrs`; close it."""

    def __init__(self, addrs: Sequence[str], folder: Path) -> None:
        self._addrs = list(addrs)
        self.folder = folder
        self.journal = Journal(folder / "journal")
        self._own = self.app()
        self.client = self._own.client
        self._link = open_link(self._own.connection.endpoint)
        self.inspector = Inspector(self._link)

    def app(self, queues: Mapping[str, int] | None = None, **settings: Any) -> qd.App:
        """An application with the handlers; *settings* by section, as `worker={"concurrency": 1}`."""
        app = qd.App("peer", config=self._settings(queues, settings))
        install(app, self.folder)
        return app

    @contextmanager
    def working(
        self,
        queues: Mapping[str, int] | None = None,
        *,
        declare: Callable[[qd.App], object] = lambda app: None,
        **settings: Any,
    ) -> Iterator[qd.App]:
        """A worker with the scheduler's loops in a thread of this process; *declare* adds to it."""
        app = self.app(queues, **settings)
        declare(app)
        app.start()
        try:
            yield app
        finally:
            app.stop()
            app.close()

    @contextmanager
    def processes(
        self, queues: Mapping[str, int] | None = None, *words: str, **settings: Any
    ) -> Iterator[Proc]:
        """`qd worker` with supervisor, one worker and the scheduler process; all are ready."""
        # JSON is YAML.
        config = self.folder / "qd.yaml"
        tree = {"log": {"format": "text"}, **self._settings(queues, settings)}
        tree["worker"] = {"processes": 1, **tree["worker"]}
        config.write_text(json.dumps(tree))
        command = (sys.executable, "-m", "qd", "worker", "--app", "tests.compat.apps.fleet", *words)
        env = {"COMPAT_FOLDER": str(self.folder)}
        with running(*command, "-c", str(config), env=env) as proc:
            proc.err.wait(r"all \d+ children are ready", PATIENCE)
            yield proc

    def release(self, task_id: str) -> None:
        """Let a task of type `hold` end."""
        (self.folder / "gates" / task_id).touch()

    def close(self) -> None:
        self._link.close()
        self._own.close()

    def _settings(
        self, queues: Mapping[str, int] | None, settings: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "redis": {"addrs": self._addrs},
            "queues": dict(queues or {"default": 1}),
            # A task that is to be retried stays where a test can look at it.
            "retry": {"policy": "fixed", "initial": "1h"},
            **settings,
            "worker": {"shutdown_timeout": "500ms", **settings.get("worker", {})},
        }


def kill_all(proc: Proc) -> None:
    """Kill a supervisor with all its children at one moment, as the end of a host does."""
    pids = [proc.pid, *descendants_of(proc.pid)]
    # Stopped first, so that none of them sees another one die.
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            os.kill(pid, number)
    proc.wait(PATIENCE)
