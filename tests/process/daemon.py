"""`qd worker` as a user starts it: its configuration, its Redis, and what its handlers have noted."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import redis

from qd.app.app import App
from qd.inspector.inspector import Inspector
from qd.protocol import codec, keys
from qd.protocol.message import ServerInfo
from tests.support.lines import whole_lines
from tests.support.procs import Proc, children_of, running
from tests.support.servers import RedisServer
from tests.support.wait import eventually

QUEUE = "default"
JOBS = "tests.process.apps.jobs"
START_WITHIN = 20.0


class Event(NamedTuple):
    """One line of the journal that the handlers of `apps/jobs.py` write."""

    what: str
    type: str
    id: str
    pid: int
    attempt: int


class Daemon:
    """
    Starts programs with one configuration file, and sees what they do through Redis and a journal.

    Two workers and a scheduler, unless `configure` says otherwise.
    """

    def __init__(self, server: RedisServer, raw: redis.Redis, folder: Path) -> None:
        self.server = server
        self.raw: Any = raw
        self.folder = folder
        self.file = folder / "qd.yaml"
        self.journal = folder / "journal"
        self._settings: dict[str, Any] = {}
        self._stack = ExitStack()
        self.configure()
        self.app = App("test", config={"redis": {"addrs": [server.url]}})
        self.inspector: Inspector = self.app.inspector()

    def configure(self, **settings: Any) -> None:
        """Write the configuration file; sections given replace those of the defaults."""
        self._settings = {
            "redis": {"addrs": [self.server.url]},
            "queues": {QUEUE: 1},
            "worker": {"processes": 2},
            "log": {"format": "text"},
            **settings,
        }
        self.file.write_text(json.dumps(self._settings))

    def worker(self, **worker: Any) -> None:
        """Write the configuration with these settings of `worker`."""
        self.configure(worker={"processes": 2, **worker})

    def command(self, *words: str, env: dict[str, str] | None = None) -> Proc:
        """Start `qd` with these words."""
        program = (sys.executable, "-m", "qd", *words)
        own = {"QD_CONFIG": str(self.file), "TEST_JOURNAL": str(self.journal)}
        return self._stack.enter_context(running(*program, env={**own, **(env or {})}))

    def start(self, *flags: str, app: str = JOBS) -> Proc:
        """Start `qd worker` and return when all of its children are ready."""
        proc = self.command("worker", "--app", app, *flags)
        proc.err.wait(r"all \d+ children are ready", START_WITHIN)
        return proc

    def enqueue(self, task_type: str, payload: Any = None, **options: Any) -> str:
        return self.app.client.enqueue(task_type, payload, **{"queue": QUEUE, **options}).id

    def let_go(self) -> None:
        """Let tasks of type `hold` end."""
        (self.folder / "go").touch()

    def events(self, what: str = "", task_id: str = "") -> list[Event]:
        """What the handlers have noted so far."""
        lines = (line.split() for line in whole_lines(self.journal))
        events = [Event(w, t, i, int(p), int(a)) for w, t, i, p, a in lines]
        return [one for one in events if what in ("", one.what) and task_id in ("", one.id)]

    def wait_for(self, what: str, task_id: str = "", count: int = 1, within: float = 10.0) -> Event:
        """Wait for the nth event of a kind, and return it."""
        return eventually(lambda: self.events(what, task_id)[count - 1 : count], within)[0]

    def state(self, task_id: str) -> str:
        value = self.raw.hget(keys.task(QUEUE, task_id), "state")
        return "" if value is None else str(value.decode())

    def error(self, task_id: str) -> str:
        return codec.decode_task(self.raw.hget(keys.task(QUEUE, task_id), "msg")).terms.error

    def retried(self, task_id: str) -> int:
        return codec.decode_task(self.raw.hget(keys.task(QUEUE, task_id), "msg")).terms.retried

    def settled(self, task_id: str, within: float = 15.0) -> str:
        """Wait until a task is neither pending nor active; its state then, empty when gone."""

        def look() -> tuple[str] | None:
            state = self.state(task_id)
            return None if state in ("pending", "active") else (state,)

        found = eventually(look, within)
        assert found is not None
        return found[0]

    def servers(self) -> list[ServerInfo]:
        """The worker processes that are shown."""
        shown = (self.raw.get(key) for key in self.raw.keys("asynq:servers:*"))
        return [codec.decode_server(data) for data in shown if data is not None]

    def nothing_held(self) -> bool:
        return not self.raw.exists(keys.active(QUEUE), keys.lease(QUEUE))

    def close(self) -> None:
        self._stack.close()
        self.app.close()


def workers_of(proc: Proc) -> set[int]:
    """The pids of all children, the scheduler included."""
    return set(children_of(proc.pid))
