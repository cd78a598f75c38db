"""`qd events` and `qd task show --timeline`."""

from __future__ import annotations

import json
import signal
import sys

import redis

from qd.cli.session import person
from qd.protocol import keys
from tests.cli.conftest import ENVIRONMENT, Cli
from tests.support.procs import running
from tests.support.servers import RedisServer

ON = ("--set", "timeline.keep=1h")


def enqueue(cli: Cli, task_id: str, *args: str, task_type: str = "a") -> None:
    cli(*ON, "enqueue", task_type, "--id", task_id, *args)


def test_the_way_of_a_task_is_shown_after_it_is_gone(cli: Cli) -> None:
    enqueue(cli, "t1")
    cli(*ON, "task", "archive", "t1")
    cli(*ON, "task", "rm", "t1", "-y")
    done = cli("task", "show", "t1", "--timeline")
    assert [line.split()[1:4] for line in done.lines[1:]] == [
        ["new", "pending", "enqueue"],
        ["pending", "archived", "archive_tasks"],
        ["archived", "gone", "delete_tasks"],
    ]
    found = cli("task", "show", "t1", "--timeline", "--json").json
    assert (found["schema"], found["id"]) == ("qd.task.timeline/1", "t1")
    assert [one["to"] for one in found["timeline"]] == ["pending", "archived", None]
    # Who has deleted it?
    assert {one["user"] for one in found["timeline"]} == {person()}
    assert f"{person()}@" in done.out


def test_without_a_timeline_it_says_what_to_set(cli: Cli, raw: redis.Redis) -> None:
    cli("enqueue", "a", "--id", "t1")
    assert raw.keys("qd:*events*") == []
    assert "timeline.keep" in cli("task", "show", "t1", "--timeline").err
    assert "timeline.keep" in cli("task", "show", "t2", "--timeline", code=3).err
    assert "timeline.keep" in cli("events").err


def test_events_are_chosen_by_task_type_state_queue_and_trace(cli: Cli) -> None:
    enqueue(cli, "t1", "--header", "traceparent=request-1")
    enqueue(cli, "t2", "-q", "low", task_type="b")
    cli(*ON, "task", "archive", "t1")

    def chosen(*args: str) -> list[tuple[str, str]]:
        return [
            (one["task_id"], one["to"]) for one in cli("events", *args, "--json").json["events"]
        ]

    everything = [("t1", "pending"), ("t2", "pending"), ("t1", "archived")]
    assert chosen() == everything
    assert chosen("--since", "1h") == everything
    assert chosen("--limit", "1") == everything[-1:]
    assert chosen("--type", "b") == chosen("-q", "low") == chosen("--task", "t2") == everything[1:2]
    assert chosen("--state", "archived") == everything[2:]
    assert chosen("--trace", "request-1") == [everything[0], everything[2]]
    assert chosen("--trace", "request-1", "--state", "pending") == everything[:1]
    assert cli("events", "--json").json["schema"] == "qd.events/1"
    plain = cli("events", "-o", "plain").lines
    assert [line.split("\t")[2] for line in plain] == ["t1", "t2", "t1"]
    assert cli("events", "-q", "lwo", code=3).err.count("low") == 1


def test_following_shows_what_comes_and_ends_at_its_limit_or_by_ctrl_c(cli: Cli) -> None:
    enqueue(cli, "t1")
    done = cli("events", "--follow", "--since", "1h", "--limit", "1")
    assert done.out.split()[1:6] == ["default", "t1", "a", "new", "pending"]
    program = (sys.executable, "-m", "qd", "--redis", cli.url, "events", "-f", "-o", "jsonl")
    with running(*program, "--since", "1h", env=ENVIRONMENT) as proc:
        proc.out.wait('"t1"', 15)
        enqueue(cli, "t2", "-q", "new")
        line = proc.out.wait('.*"t2".*', 15)
        assert json.loads(line[0])["queue"] == "new"
        proc.signal(signal.SIGINT)
        assert proc.wait(10) == 0
        assert proc.err.text() == ""


def test_following_waits_for_a_redis_that_goes_away_and_misses_nothing() -> None:
    with RedisServer("--appendonly", "yes") as own:
        cli = Cli(own.url)
        enqueue(cli, "t1")
        program = (sys.executable, "-m", "qd", "--redis", cli.url, "events", "-f", "-o", "jsonl")
        with running(*program, "--since", "1h", env=ENVIRONMENT) as proc:
            proc.out.wait('"t1"', 15)
            own.stop()
            proc.err.wait("Waiting for it", 30)
            own.start()
            enqueue(cli, "t2")
            proc.out.wait('"t2"', 30)
            proc.err.wait("Redis answers again", 15)
            assert [json.loads(one)["task_id"] for one in proc.out.all()] == ["t1", "t2"]
            assert len(proc.err.all("Waiting")) == 1


def test_only_queues_of_the_configured_prefix_are_shown(cli: Cli) -> None:
    enqueue(cli, "t1")
    cli("--set", "queue_prefix=x_", *ON, "enqueue", "a", "--id", "t2")
    prefixed = ("--set", "queue_prefix=x_", "events", "--json")
    assert [one["queue"] for one in cli(*prefixed).json["events"]] == ["x_default"]
    more = cli(*prefixed, "-f", "--since", "1h", "--limit", "1").json["events"]
    assert [one["task_id"] for one in more] == ["t2"]


def test_purging_is_noted_and_removing_a_queue_removes_its_timeline(
    cli: Cli, raw: redis.Redis
) -> None:
    enqueue(cli, "t1")
    cli(*ON, "queue", "purge", "default", "-y")
    assert '"delete_tasks"' in cli("events", "--json").out
    assert raw.exists(keys.events("default"))
    cli("queue", "rm", "default", "-y")
    assert raw.keys("*") == []


def test_doctor_finds_nothing_wrong_with_it(cli: Cli) -> None:
    enqueue(cli, "t1", "--header", "traceparent=request-1")
    found = cli(*ON, "doctor", "--json", code=1).json
    assert found["store"]["tasks"] == 1
    assert found["findings"] == []
    results = {one["point"]: one["result"] for one in found["checks"]}
    assert results["access"] == "ok"


def test_doctor_names_a_right_that_only_the_timeline_needs(cli: Cli, server: RedisServer) -> None:
    server.add_user("weak", "secret", "~*", "&*", "+@all", "-xadd")
    weak = Cli(f"redis://weak:secret@127.0.0.1:{server.port}")
    assert "XADD" not in weak("doctor", "--quick", code=1).out
    assert "may not call XADD" in weak(*ON, "doctor", "--quick", code=1).out
