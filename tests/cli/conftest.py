"""Run commands as a user would, and put something into Redis for them to find."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator, FormatChecker

from qd.app.client import make_client
from qd.app.connection import Connection
from qd.broker.connect import open_link
from qd.cli import schemas
from qd.cli.main import qd
from qd.client.declared import Declared, tick_id
from qd.client.info import TaskInfo
from qd.config.load import from_mapping
from qd.handlers.options import TaskOptions
from qd.protocol import codec, keys
from qd.protocol.message import SchedulerEntry, ServerInfo, TaskMessage, Terms, WorkerInfo
from qd.protocol.ops import cron, presence, tasks
from qd.protocol.ops.tasks import NewTask
from qd.protocol.state import TaskState
from tests.support.procs import environment

SECOND = 1_000_000_000
"""In nanoseconds."""

SCHEMAS = schemas.load()
FORMATS = FormatChecker()


@FORMATS.checks("date-time", raises=ValueError)
def _is_moment(text: object) -> bool:
    return isinstance(text, str) and text.endswith("Z") and bool(datetime.fromisoformat(text))


ENVIRONMENT = environment()
"""For programs started by tests, which run in other folders."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/golden/help anew")


@dataclass
class Done:
    """What one command line has left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def hold_to_schema(answer: Any, *, name: str = "") -> None:
    """Fail unless an answer has exactly the fields on record; with *name* it is a line of jsonl."""
    (document,) = SCHEMAS.find(name or answer["schema"])
    schema = SCHEMAS.json_schema(document, line=bool(name), strict=True)
    Draft202012Validator(schema, format_checker=FORMATS).validate(answer)


class Cli:
    """
    Runs `qd` in this process, on the Redis of the test.

    A wrong exit code is a failure, and so is JSON that is not as `qd schema` says.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(
        self,
        *args: str,
        code: int = 0,
        stdin: str | bytes | None = None,
        env: Mapping[str, str | None] | None = None,
    ) -> Done:
        result: Result = CliRunner().invoke(
            qd, ["--redis", self.url, *args], input=stdin, env=dict(env or {})
        )
        assert result.exit_code == code, f"{args}: {result.exit_code}\n{result.output}"
        if "--json" in args and result.stdout.startswith('{"schema"'):
            hold_to_schema(json.loads(result.stdout))
        return Done(result.exit_code, result.stdout, result.stderr)


class Store:
    """Puts tasks, workers and entries into Redis, as the other parts of qd write them."""

    def __init__(self, url: str, raw: redis.Redis) -> None:
        self.url = url
        self._settings = from_mapping({"redis": {"addrs": [url]}})
        self._connection = Connection(self._settings)
        self.link = open_link(self._connection.endpoint)
        self.client = make_client(self._settings, self._connection)
        self.raw = raw

    def task(self, task_type: str = "a", payload: Any = None, **options: Any) -> TaskInfo:
        return self.client.enqueue(task_type, payload, **options)

    def dead(
        self,
        task_id: str,
        task_type: str = "a",
        *,
        queue: str = "default",
        error: str = "broken",
        ago: float = 0,
        deaths: int = 0,
        payload: bytes = b'{"n": 1}',
    ) -> str:
        terms = Terms(queue=queue, max_retry=3, retried=3, error=error, timeout=60)
        message = codec.encode_task(TaskMessage(task_type, payload, task_id, terms))
        now = int(time.time() - ago)
        stored = tasks.dead_letter(queue, task_id, message, now=now)
        assert self.link.execute_many([tasks.announce([queue]), stored])[1]
        if deaths:
            self.raw.hset(keys.task(queue, task_id), "qd_deaths", deaths)
        return task_id

    def take(self, queue: str = "default", count: int = 1) -> list[str]:
        """Let a worker have tasks; they are active then."""
        until = int(time.time()) + 30
        taken = self.link.execute(
            tasks.dequeue(queue, count=count, owner="o", nonce="n", lease_until=until)
        )
        return [one.id for one in taken or []]

    def worker(
        self,
        *queues: str,
        host: str = "web-1",
        pid: int = 7,
        running: str | None = None,
        types: tuple[str, ...] = ("a",),
    ) -> str:
        now = time.time()
        weights = tuple((queue, 1) for queue in queues)
        started = int(now * SECOND)
        info = ServerInfo(host, pid, "s1", 10, weights, False, "active", started, bool(running))
        busy = []
        if running:
            busy.append(WorkerInfo(host, pid, "s1", running, "a", b"{}", queues[0], started, None))
        self.link.execute_many(presence.write_server(info, busy, types, now=int(now)))
        return info.server_id

    def entry(self, entry_id: str, spec: str) -> int:
        """Publish a periodic task; returns when it says it is due next, in Unix seconds."""
        due = int(time.time()) + 100
        next_ns = due * SECOND
        entry = SchedulerEntry(entry_id, spec, "report", b"{}", ('Queue("low")',), next_ns, None)
        self.link.execute_many(
            presence.write_entries("web-1:7:x", [entry], ttl=20, now=int(time.time()))
        )
        return due

    def periodic(self, name: str, spec: str, **more: Any) -> str:
        """Publish a periodic task as a scheduler of qd does; returns its id."""
        given = {"options": TaskOptions(queue="low"), "timezone": "UTC", "payload": b"{}", **more}
        one = Declared(name=name, spec=spec, task_type="report", **given)
        entry_id = cron.entry_id("", name)
        shown = SchedulerEntry(entry_id, spec, "report", b"{}", ('Queue("low")',), None, None)
        self.link.execute_many(
            presence.write_entries(
                "web-1:7:x", [shown], [one.to_json()], ttl=20, now=int(time.time())
            )
        )
        return entry_id

    def decided(self, name: str, tick: int, *, late: float = 0.004) -> None:
        """Let a tick of a published entry be enqueued, as a scheduler does."""
        self.link.execute(cron.begin("low", name, now=tick - 1))
        task_id = tick_id(name, tick)
        message = codec.encode_task(TaskMessage("report", b"{}", task_id, Terms(queue="low")))
        self.link.execute_many(
            [
                tasks.announce(["low"]),
                cron.tick(
                    "low", name, NewTask(task_id, message), TaskState.PENDING, tick_at=tick,
                    overlap=True, now_ns=int((tick + late) * SECOND),
                ),
            ]
        )  # fmt: skip
        self.fired(cron.entry_id("", name), task_id)

    def fired(self, entry_id: str, task_id: str) -> None:
        self.link.execute_many(cron.record_event(entry_id, task_id, now_ns=time.time_ns()))

    def state(self, task_id: str, queue: str = "default") -> str | None:
        found: bytes | None = self.raw.hget(keys.task(queue, task_id), "state")
        return None if found is None else found.decode()

    def close(self) -> None:
        self.client.close()
        self.link.close()
        self._connection.close()


@pytest.fixture(autouse=True)
def _clean(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration but the test's own: an empty folder, no QD_ variables."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("QD_") and name != "QD_REDIS_SERVER":
            monkeypatch.delenv(name)


@pytest.fixture
def cli(redis_url: str) -> Cli:
    return Cli(redis_url)


@pytest.fixture
def store(redis_url: str, raw: redis.Redis) -> Iterator[Store]:
    store = Store(redis_url, raw)
    yield store
    store.close()
