"""`qd enqueue`: payload forms, options, files, waiting."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qd.inspector.inspector import Inspector
from qd.inspector.views import TaskView
from qd.protocol.state import TaskState
from tests.cli.conftest import Cli, Store


def _task(store: Store, task_id: str, queue: str = "default") -> TaskView:
    return Inspector(store.link).tasks.get(queue, task_id)


@pytest.mark.parametrize(
    ("words", "payload"),
    [
        ([], b""),
        (['{"a": 1}'], b'{"a": 1}'),
        (["[1, 2]"], b"[1, 2]"),
        (["12"], b"12"),
        (["to=ann", "n=3", "deep={\"x\": [1]}", "ok=true", "id=007"],
         b'{"to":"ann","n":3,"deep":{"x":[1]},"ok":true,"id":"007"}'),
        (["q=a=b"], b'{"q":"a=b"}'),
        (["void=null", "empty="], b'{"void":null,"empty":""}'),
    ],
)  # fmt: skip
def test_payload_is_json_or_pairs(cli: Cli, store: Store, words: list[str], payload: bytes) -> None:
    done = cli("enqueue", "a", *words, "--json")
    assert _task(store, done.json["id"]).payload == payload


def test_payload_comes_from_a_file_or_stdin(cli: Cli, store: Store) -> None:
    """The line break at the end of a JSON file is no part of it; other bytes are kept as they are."""
    Path("p.json").write_bytes(b'{"a": 1}\n')
    Path("p.bin").write_bytes(b"\x00\xff\n")
    from_file = cli("enqueue", "a", "@p.json", "--json").json["id"]
    from_binary = cli("enqueue", "a", "@p.bin", "--json").json["id"]
    from_stdin = cli("enqueue", "a", "-", "--json", stdin="[1]\n").json["id"]
    assert _task(store, from_file).payload == b'{"a": 1}'
    assert _task(store, from_binary).payload == b"\x00\xff\n"
    assert _task(store, from_stdin).payload == b"[1]"


@pytest.mark.parametrize("words", [["{oops"], ["a=1", "b"], ["a=1", "a=2"], ["@missing"]])
def test_payload_that_is_none_of_the_forms_is_refused(
    cli: Cli, store: Store, words: list[str]
) -> None:
    assert cli("enqueue", "a", *words, code=2).out == ""
    assert Inspector(store.link).queues.names() == []


def test_options_arrive_in_the_task(cli: Cli, store: Store) -> None:
    done = cli(
        "enqueue", "a", "n=1", "-q", "low", "--max-retry", "2", "--timeout", "90s",
        "--deadline", "2099-01-31T08:00:00+01:00", "--unique", "10m", "--id", "my-id",
        "--retention", "1h", "--header", "trace=x", "--header", "b=2=3", "--json",
    )  # fmt: skip
    assert done.json["schema"] == "qd.enqueue/1"
    assert {k: done.json[k] for k in ("id", "type", "queue", "state")} == {
        "id": "my-id", "type": "a", "queue": "low", "state": "pending",
    }  # fmt: skip
    view = _task(store, "my-id", "low")
    assert (view.max_retry, view.timeout, view.retention) == (2, 90, 3600)
    assert view.deadline == datetime(2099, 1, 31, 7, tzinfo=UTC)
    assert view.headers == (("trace", "x"), ("b", "2=3"))
    assert view.unique_key


def test_delayed_task_is_scheduled(cli: Cli) -> None:
    done = cli("enqueue", "a", "--in", "5m")
    assert "scheduled for in 5m" in done.out
    at = cli("enqueue", "a", "--at", "2099-01-31T08:00:00Z", "--json").json
    assert (at["state"], at["next_at"]) == ("scheduled", "2099-01-31T08:00:00Z")


def test_time_without_a_zone_is_refused_with_the_fix(cli: Cli) -> None:
    done = cli("enqueue", "a", "--at", "2099-01-31T08:00:00", code=2)
    assert "has no time zone; write 2099-01-31T08:00:00Z" in done.err
    assert cli("enqueue", "a", "--at", "tomorrow", code=2)
    assert cli("enqueue", "a", "--at", "2099-01-31T08:00:00Z", "--in", "5m", code=2)


def test_grouped_task_waits_in_its_group(cli: Cli) -> None:
    assert cli("enqueue", "a", "--group", "g", "--json").json["state"] == "aggregating"
    assert cli("group", "ls", "-o", "plain").out == "default\tg\t1\n"


def test_twin_of_a_unique_task_is_refused_and_names_the_other(cli: Cli) -> None:
    cli("enqueue", "a", "n=1", "--unique", "10m", "--id", "first")
    done = cli("enqueue", "a", "n=1", "--unique", "10m", code=1)
    assert "first" in done.err
    assert done.err.count("\n") == 2


def test_id_in_use_is_refused(cli: Cli) -> None:
    cli("enqueue", "a", "--id", "x")
    assert "pending" in cli("enqueue", "a", "--id", "x", code=1).err


def test_plain_output_is_the_bare_id(cli: Cli) -> None:
    assert cli("enqueue", "a", "--id", "x", "-o", "plain").out == "x\n"


def test_dry_run_checks_everything_and_sends_nothing(cli: Cli, store: Store) -> None:
    assert cli("enqueue", "a", "n=1", "--dry-run").out.startswith("Would enqueue a to default")
    assert cli("enqueue", "a", "-q", "{x}", "--dry-run", code=2)
    assert Inspector(store.link).queues.names() == []


def test_queue_prefix_is_put_before_and_shown(cli: Cli) -> None:
    done = cli("--set", "queue_prefix=prod_", "enqueue", "a", "-q", "low", "--json")
    assert done.json["queue"] == "prod_low"


def test_settings_of_the_task_type_hold(cli: Cli) -> None:
    Path("qd.yaml").write_text("tasks:\n  a: {queue: low, max_retry: 1}\n")
    found = cli("enqueue", "a", "--json").json
    assert found["queue"] == "low"
    assert cli("enqueue", "a", "-q", "high", "--json").json["queue"] == "high"


def test_refused_where_redis_is_disabled(cli: Cli) -> None:
    assert "redis.enabled" in cli("--set", "redis.enabled=false", "enqueue", "a", code=78).err


def test_every_line_of_a_file_is_enqueued(cli: Cli, store: Store) -> None:
    lines = [
        {"type": "a", "payload": {"n": 1}},
        {"type": "b", "queue": "low", "max_retry": 1, "timeout": "5m", "task_id": "b1"},
        {"type": "c", "process_at": "2099-01-31T08:00:00Z", "task_id": "c1"},
    ]
    Path("t.jsonl").write_text("\n\n".join(map(json.dumps, lines)))
    done = cli("enqueue", "--from-jsonl", "t.jsonl", "-q", "high", "--json")
    assert done.json == {
        "schema": "qd.enqueue.file/1", "accepted": 3, "dropped": 0, "refused": [], "dry_run": False,
    }  # fmt: skip
    assert _task(store, "b1", "low").timeout == 300
    assert _task(store, "c1", "high").state == "scheduled"


def test_with_a_type_each_line_is_a_payload(cli: Cli, store: Store) -> None:
    done = cli("enqueue", "a", "--from-jsonl", "-", stdin='{"n": 1}\n[2]\n')
    assert done.out == "2 tasks enqueued\n"
    found = Inspector(store.link).tasks.list("default", TaskState.PENDING)
    assert {view.payload for view in found} == {b'{"n": 1}', b"[2]"}


def test_refused_lines_are_named_and_stop_no_others(cli: Cli, store: Store) -> None:
    """More lines than one batch has; the exit code says that it was done partly."""
    lines = [json.dumps({"type": "a", "task_id": f"t{n}"}) for n in range(1, 1203)]
    lines[1] = "{oops"
    lines[600] = '{"type": "a", "queu": "x"}'
    lines[1200] = '{"type": "a", "task_id": "t1"}'
    Path("t.jsonl").write_text("\n".join(lines))
    done = cli("enqueue", "--from-jsonl", "t.jsonl", "--json", code=4)
    assert [one["line"] for one in done.json["refused"]] == [2, 601, 1201]
    assert done.json["accepted"] == 1199
    assert 'line 601: "queu" is no option of a task. Did you mean "queue"?' in done.err
    assert Inspector(store.link).tasks.count("default", TaskState.PENDING) == 1199


def test_file_of_which_nothing_can_be_taken_fails(cli: Cli) -> None:
    assert cli("enqueue", "--from-jsonl", "-", stdin="nope\n", code=1).err.startswith("line 1: ")
    assert cli("enqueue", "--from-jsonl", "missing", code=2)


def test_dry_run_of_a_file_reports_refusals_and_sends_nothing(cli: Cli, store: Store) -> None:
    done = cli("enqueue", "--from-jsonl", "-", "--dry-run", stdin='{"type": "a"}\nx\n', code=4)
    assert done.out == "1 task could be enqueued, 1 line refused\n"
    assert Inspector(store.link).queues.names() == []


def test_waiting_longer_than_allowed_exits_124(cli: Cli) -> None:
    done = cli("enqueue", "a", "--wait", "--wait-timeout", "100ms", code=124)
    assert "still pending after 100ms" in done.err


def test_enqueue_needs_a_type(cli: Cli) -> None:
    assert "type is missing" in cli("enqueue", code=2).err


BOUND = {"QD_BACKPRESSURE__ENABLED": "true", "QD_BACKPRESSURE__MAX_SIZE": "2"}


def test_a_full_queue_has_an_exit_code_of_its_own(cli: Cli) -> None:
    for _ in range(2):
        cli("enqueue", "a", env=BOUND)
    done = cli("enqueue", "a", env=BOUND, code=6)
    assert "queue default is full: 2 tasks" in done.err
    shown = cli("queue", "show", "default", "--json").json["queue"]
    assert (shown["pressure"], shown["refused"]) == ("critical", 1)
    assert "1 refused" in cli("stats", "-o", "table").out


def test_a_dropped_task_is_said_to_be_dropped(cli: Cli) -> None:
    env = BOUND | {"QD_BACKPRESSURE__POLICY": "drop"}
    states = [cli("enqueue", "a", "--json", env=env).json["state"] for _ in range(3)]
    assert states == ["pending", "pending", "dropped"]
    assert "queue default is full" in cli("enqueue", "a", "-o", "table", env=env).out


def test_lines_of_a_file_that_find_no_room_are_refused_by_number(cli: Cli) -> None:
    Path("t.jsonl").write_text('{"type": "a"}\n' * 4)
    done = cli("enqueue", "--from-jsonl", "t.jsonl", "--json", env=BOUND, code=4)
    assert done.json["accepted"] == 2
    assert [one["line"] for one in done.json["refused"]] == [3, 4]
