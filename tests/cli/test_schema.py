"""`qd schema`, and that it is true: each command that reads, on a store that has some of everything."""

from __future__ import annotations

import json
import shlex
import time

import pytest
from jsonschema import Draft202012Validator

from qd import jsoncodec
from qd.protocol import keys
from qd.protocol.ops import breakers, limits
from qd.protocol.ops.breakers import Ended, Rules
from qd.protocol.ops.limits import Bounds, Member
from qd.protocol.progress import Progress, encode
from tests.cli.conftest import SCHEMAS, Cli, Store, hold_to_schema
from tests.cli.flows import store_order
from tests.cli.test_help import PATHS

READING = (
    "task ls",
    "task ls --count",
    "task show t1",
    "task show t1 --timeline",
    "task why t1",
    "task why runs",
    "task why broken",
    "dlq ls",
    "dlq groups",
    "dlq show d1",
    "queue ls",
    "queue show default",
    "queue history default",
    "cron ls",
    "cron next",
    "cron history nightly",
    "cron backfill nightly --from 2020-01-01T00:00:00Z --to 2020-01-03T00:00:00Z --dry-run",
    "server ls",
    "server show web-1:7",
    "group ls",
    "breaker ls",
    "flow ls",
    "flow show order-7",
    "task show flow:order-7:1",
    "limit ls",
    "limit show api",
    "stats",
    "events",
    "doctor --quick",
    "config check",
    "config show worker",
    "version",
    "schema",
    # Each answers in the shape of a task that waits, runs, is dead or has ended.
    "dlq requeue --all --dry-run",
    "task rm --all --state scheduled --dry-run",
    "enqueue a --dry-run",
)

OTHER = {"worker", "scheduler", "dash", "systemd", "completion", "dlq export"}
"""Commands whose answer is something else: a process, a screen, a file."""


@pytest.fixture
def full(cli: Cli, store: Store) -> Store:
    """Some of everything that can be looked at."""
    on = ("--set", "timeline.keep=1h")
    cli(*on, "enqueue", "a", "n=1", "--id", "t1", "--unique", "1h", "--header", "traceparent=x")
    store.task("a", {"n": 2}, task_id="later", process_in="1h", retention="1h")
    store.task("a", {"n": 3}, task_id="grouped", group="user:7")
    store.dead("d1", error="ValueError: order 17 is wrong", deaths=2, payload=b"\xff")
    store.dead("broken", payload=b"no json")
    store.task("a", {"n": 4}, queue="low", task_id="runs")
    store.take("low")
    said = encode(Progress(4.0, 10.0, "encoding", time.time()))
    store.raw.hset(keys.task("low", "runs"), "qd_progress", said)
    store.worker("low", running="runs")
    store.periodic("nightly", "0 3 * * *", missed="once", jitter=5.0)
    store.decided("nightly", int(time.time()) - 60)
    store.raw.hset(keys.task("default", "broken"), "msg", b"\x00\x01")
    bounds = Bounds("api", rate=1.5, burst=20, slots=1)
    document = {"rate": 1.5, "burst": 20, "concurrency": 1, "per": "type", "key": ""}
    store.link.execute(limits.publish({"api": jsoncodec.dumps(document)}))
    members = [Member(keys.task("default", f"m{n}"), "a") for n in range(3)]
    store.link.execute(limits.ask(bounds, "worker-1", members))
    store.link.execute(breakers.publish({"sms": jsoncodec.dumps({"types": ["sms:*"]})}))
    store.link.execute(
        breakers.tell(Rules("sms"), [(Member(f"x{n}", "voda"), Ended.FAILURE) for n in range(5)])
    )
    store_order(store)
    return store


def test_every_command_that_reads_answers_as_its_schema_says(cli: Cli, full: Store) -> None:
    """Exactly these fields, each of its type: one more or one less is a failure. So are its lines."""
    for line in READING:
        words = shlex.split(line)
        code = 1 if words[0] == "doctor" else 0
        answer = cli(*words, "--json", code=code).json
        hold_to_schema(answer)
        (document,) = SCHEMAS.find(answer["schema"])
        if document.lines:
            assert answer[document.lines], f"{line} shows nothing"
        for one in cli(*words, "-o", "jsonl", code=code).lines:
            hold_to_schema(json.loads(one), name=document.name)


def test_a_field_that_is_added_removed_or_of_another_type_is_noticed(cli: Cli, full: Store) -> None:
    answer = cli("queue", "ls", "--json").json
    one = answer["queues"][0]
    for wrong in ({**one, "new": 1}, {**one, "size": "1"}, {k: one[k] for k in one if k != "size"}):
        schema = SCHEMAS.json_schema(SCHEMAS.find("qd.queue.ls")[0], strict=True)
        assert not Draft202012Validator(schema).is_valid({**answer, "queues": [wrong]})


def test_every_command_has_a_shape() -> None:
    documented = {word for one in SCHEMAS.all() for word in one.command.split(", ")}
    commands = {" ".join(path) for path in PATHS if path}
    leaves = {one for one in commands if not any(two.startswith(f"{one} ") for two in commands)}
    without = {one for one in leaves if f"qd {one}" not in documented}
    assert without == OTHER
    assert {one.partition(" --")[0].removeprefix("qd ") for one in documented} <= leaves


def test_every_shape_is_a_json_schema_and_all_of_them_are_used() -> None:
    used: set[str] = set()
    for document in SCHEMAS.all():
        for line in (False, True):
            schema = SCHEMAS.json_schema(document, line=line)
            Draft202012Validator.check_schema(schema)
            used |= set(schema["$defs"])
        assert [row.meaning for row in SCHEMAS.rows(document) if not row.meaning] == []
    unused = set(SCHEMAS.shapes) - used
    assert unused <= {"bulk", "accepted", "finding", "limit"}, "they are only taken over by others"


def test_schema_shows_fields_of_the_command_that_was_typed(cli: Cli) -> None:
    for words in (["queue", "ls"], ["qd", "queue", "ls"], ["qd.queue.ls"], ["qd.queue.ls/1"]):
        done = cli("schema", *words, "-o", "plain")
        assert 'schema\ttext\t"qd.queue.ls/1"' in done.out
        assert "queues[].paused_by\ttext\tWho has paused it" in done.out
        assert "a line is what stands in queues" in done.err
    assert len(cli("schema", "-o", "plain").lines) == len(SCHEMAS.all())


def test_schema_prints_json_schema_for_programs(cli: Cli) -> None:
    found = cli("schema", "qd.dlq.ls/1", "--json").json
    assert found["title"] == "qd.dlq.ls/1"
    assert found["properties"]["schema"] == {"const": "qd.dlq.ls/1"}
    Draft202012Validator(found).validate(cli("dlq", "ls", "--json").json)


def test_a_wrong_name_gets_a_suggestion(cli: Cli) -> None:
    assert 'Did you mean "qd.queue.ls/1"?' in cli("schema", "qd.queue.l/1", code=3).err
