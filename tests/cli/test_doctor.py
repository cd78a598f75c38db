"""`qd doctor`: what is stored wrongly is shown, planned, asked about and repaired; why work fails."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from qd.cli.checks_work import check_stop
from qd.protocol import keys
from qd.protocol.message import SchedulerEntry
from qd.protocol.ops import presence
from qd.protocol.scripts import Script
from tests.cli.conftest import Cli, Store
from tests.support.servers import RedisServer


def _damage(store: Store) -> None:
    store.worker("default")
    store.task(task_id="sound")
    store.raw.lpush(keys.pending("default"), "ghost-1", "ghost-2")
    store.raw.set(keys.unique_prefix("default") + "a:0", "gone", ex=900)
    store.raw.set("asynq:{default}:mystery", "?")


def _checks(cli: Cli, *flags: str, code: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cli("doctor", "--json", *flags, code=code).json["checks"]
    return found


def _of(checks: list[dict[str, Any]], point: str) -> list[tuple[str, str, str]]:
    return [(one["result"], one["detail"], one["hint"]) for one in checks if one["point"] == point]


def test_what_is_stored_wrongly_is_one_line_for_each_kind(cli: Cli, store: Store) -> None:
    _damage(store)
    done = cli("doctor", "--json", code=1)
    assert done.json["schema"] == "qd.doctor/2"
    assert done.json["store"]["tasks"] == 1
    assert [(one["rule"], one["subject"]) for one in done.json["findings"]] == [
        ("ghost", "ghost-1"),
        ("ghost", "ghost-2"),
        ("leaked-lock", keys.unique_prefix("default") + "a:0"),
        ("unknown-key", "asynq:{default}:mystery"),
    ]
    lines = _of(done.json["checks"], "store default")
    assert [result for result, _, _ in lines] == ["problem", "problem", "warning"]
    assert lines[0][1].startswith("2 listed ids without a task: ")
    assert lines[0][1].endswith("(ghost-1, ghost-2)")
    assert lines[0][2] == "qd doctor --fix"


def test_quick_leaves_the_store_out(cli: Cli, store: Store) -> None:
    _damage(store)
    found = cli("doctor", "--quick", "--json").json
    assert found["findings"] is None
    assert _of(found["checks"], "store default") == []


def test_fix_shows_its_plan_and_does_nothing_where_nobody_can_be_asked(
    cli: Cli, store: Store
) -> None:
    _damage(store)
    done = cli("doctor", "--fix", code=5)
    assert done.out == ""
    assert "default: 2 listed ids without a task (ghost-1, ghost-2) -> the id leaves" in done.err
    assert "Carry out 3 repairs?" in done.err
    assert store.raw.llen(keys.pending("default")) == 3


def test_fix_repairs_and_says_what_became_of_each(cli: Cli, store: Store) -> None:
    _damage(store)
    done = cli("doctor", "--fix", "-y", "--json", code=4)
    assert done.json["schema"] == "qd.doctor.fix/1"
    assert done.json["counts"] == {"repaired": 3, "changed": 0, "refused": 0, "left": 1}
    results = {one["subject"]: one["result"] for one in done.json["findings"]}
    assert results["ghost-1"] == "repaired"
    assert results["asynq:{default}:mystery"] == "left"
    assert store.raw.lrange(keys.pending("default"), 0, -1) == [b"sound"]
    store.raw.delete("asynq:{default}:mystery")
    again = cli("doctor", "--fix", "-y")
    assert again.err == "Nothing to repair: 1 tasks are as they should be.\n"
    assert cli("doctor", "--fix", "-y", "--json").json["findings"] == []


def test_fix_without_a_finding_needs_no_answer(cli: Cli, store: Store) -> None:
    store.task()
    assert "Nothing to repair" in cli("doctor", "--fix").err


def test_fix_and_quick_contradict_each_other(cli: Cli) -> None:
    assert "--quick" in cli("doctor", "--fix", "--quick", code=2).err


def test_only_the_named_queue_is_looked_at(cli: Cli, store: Store) -> None:
    _damage(store)
    store.task(queue="low")
    found = cli("doctor", "--json", "-q", "low", code=1).json
    assert found["findings"] == []
    assert found["store"]["queues"] == 1
    cli("doctor", "-q", "lwo", code=3)


def test_a_command_that_is_not_allowed_is_named(
    cli: Cli, store: Store, server: RedisServer, raw: redis.Redis
) -> None:
    """Without it a script would stop half way, and the task would be nowhere."""
    server.add_user("weak", "secret", "~*", "&*", "+@all", "-zadd", "-lrem")
    url = f"redis://weak:secret@127.0.0.1:{server.port}"
    [(result, detail, hint)] = _of(_checks(Cli(url), "--quick", code=1), "access")
    assert result == "problem"
    assert "may not call LREM, ZADD on asynq:{default}:*" in detail
    assert "+lrem +zadd" in hint
    assert [key for key in raw.keys("*") if b"self-test" in key] == []  # type: ignore[union-attr]


def test_keys_that_are_not_allowed_are_named(cli: Cli, server: RedisServer) -> None:
    server.add_user("narrow", "secret", "~asynq:*", "&*", "+@all")
    url = f"redis://narrow:secret@127.0.0.1:{server.port}"
    [(result, detail, hint)] = _of(_checks(Cli(url), "--quick", code=1), "access")
    assert result == "problem"
    assert "qd:{default}:*" in detail
    assert "~qd:*" in hint


def test_the_self_test_tries_every_command_that_scripts_call() -> None:
    folder = Path(__file__).parents[2] / "qd" / "protocol" / "lua"
    # All but the one that moves the clock of a test kit, which belongs to no program.
    files = [one for one in folder.rglob("*.lua") if one.name != "move_clock.lua"]
    scripts = "".join(one.read_text() for one in files)
    called = set(re.findall(r"\bp?call\('([A-Z]+)'", scripts))
    tried = set(re.findall(r"try\('([A-Z]+)'", Script("self_test").source))
    assert called - tried == set()


def test_why_tasks_are_tried_again_and_why_they_are_dead(cli: Cli, store: Store) -> None:
    store.worker("default")
    for n in range(3):
        store.dead(f"d{n}", error=f"cannot reach 10.0.0.{n}")
    store.dead("other", error="no such user")
    lines = _of(_checks(cli, "--quick"), "queue default")
    assert lines == [
        (
            "warning",
            "dead, of 4 looked at: 3 x a: cannot reach <n>.<n>; 1 x a: no such user",
            "qd dlq groups -q default",
        )
    ]


def test_a_backlog_that_too_few_slots_serve_is_told_of(
    cli: Cli, store: Store, raw: redis.Redis
) -> None:
    store.worker("default")
    for _ in range(101):
        store.task()
    oldest = raw.lindex(keys.pending("default"), -1)
    waited = time.time_ns() - 300 * 10**9
    raw.hset(keys.task("default", oldest.decode()), "pending_since", waited)  # type: ignore[union-attr]
    [(result, detail, hint)] = _of(_checks(cli, "--quick"), "queue default")
    assert result == "warning"
    assert detail == "101 tasks wait, the next one for 5m; 10 can run at a time"
    assert "concurrency" in hint


def test_a_due_task_that_nobody_promotes_is_told_of(
    cli: Cli, store: Store, raw: redis.Redis
) -> None:
    store.worker("default")
    store.task(task_id="x", process_in="1h")
    raw.zadd(keys.scheduled("default"), {"x": time.time() - 130})
    [(result, detail, _)] = _of(_checks(cli, "--quick", code=1), "queue default")
    assert result == "problem"
    assert detail == "a task in scheduled was due 2m ago, and nobody moves it on"


def test_go_schedulers_that_enqueue_the_same_are_told_of(cli: Cli, store: Store) -> None:
    store.worker("default")

    def publish(scheduler: str, entry_id: str) -> None:
        entry = SchedulerEntry(entry_id, "@every 1h", "report", b"{}", (), None, None)
        steps = presence.write_entries(scheduler, [entry], now=int(time.time()), ttl=20)
        store.link.execute_many(steps)

    publish("web-1:1:x", "nightly")
    publish("web-2:1:x", "nightly")
    assert _of(_checks(cli, "--quick"), "schedulers")[0][0] == "ok"
    publish("go-1:1:x", "6ba7b810-9dad-11d1-80b4-00c04fd430c8")
    publish("go-2:1:x", "6ba7b811-9dad-11d1-80b4-00c04fd430c8")
    [(result, detail, _)] = _of(_checks(cli, "--quick", code=1), "schedulers")
    assert result == "problem"
    assert detail == "2 Go schedulers each enqueue report at @every 1h"


@pytest.mark.parametrize(
    ("said", "result"),
    [
        ("LoadState=loaded\nTimeoutStopUSec=10s", "warning"),
        ("LoadState=loaded\nTimeoutStopUSec=1min 30s", "ok"),
        ("LoadState=loaded\nTimeoutStopUSec=infinity", "ok"),
        ("LoadState=not-found\nTimeoutStopUSec=1min 30s", None),
        ("", None),
    ],
)
def test_the_limit_of_systemd_is_compared_with_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, result: str | None
) -> None:
    program = tmp_path / "systemctl"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = check_stop(8.0)
    assert [one.result for one in found] == ([result] if result else [])


def test_lines_for_programs_are_one_finding_each(cli: Cli, store: Store) -> None:
    _damage(store)
    lines = cli("doctor", "--fix", "-y", "-o", "jsonl", code=4).lines
    assert [json.loads(one)["result"] for one in lines] == ["repaired"] * 3 + ["left"]
