"""What an operator sees of polls, and how he ends one: `qd task why`, `qd task done`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from qd.policy.poll import Polling
from qd.protocol import codec, keys, polling
from qd.protocol.message import TaskMessage, Terms
from qd.protocol.ops import endings, tasks
from qd.protocol.ops.endings import Ending, Fate, Held
from qd.protocol.state import TaskState
from tests.cli.conftest import Cli, Store


def looked(store: Store, polled: Polling, *, due_in: float = 7.0) -> None:
    """Let a worker look at the poll `x` and say not yet."""
    store.task("video:status", {"video_id": 7}, task_id="x", retention="1h")
    store.take()
    stored = store.raw.hget(keys.task("default", "x"), "msg")
    headers = ((polling.HEADER, polling.write(polled)),)
    message = codec.with_terms(codec.decode_task(stored), error="still encoding", headers=headers)
    now = int(time.time())
    ending = Ending(
        Held("x", 0, now + 60),
        message=codec.encode_task(message),
        at=int(now + due_in),
        is_failure=False,
    )
    op = endings.retry("default", "o", [ending], day="2030-01-01", now=now)
    assert store.link.execute(op) == [Fate.OK]


def reasons(cli: Cli) -> dict[str, str]:
    found = cli("task", "why", "x", "--json").json["why"]["reasons"]
    return {one["code"]: one["text"] for one in found}


def shown(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%F %T}Z"


def test_a_poll_says_how_far_it_is(cli: Cli, store: Store) -> None:
    store.worker("default", types=("video:",))
    since = time.time() - 600
    looked(store, Polling(3, since, since + 1800))
    text = reasons(cli)["polling"]
    assert list(reasons(cli)) == ["polling"]
    assert text.startswith(f"polling: look 4, since {shown(since)} (10m ago), next at 20")
    assert f", gives up at {shown(since + 1800)} (in " in text
    assert text.endswith("; the last said: still encoding.")
    assert "polling: look 4" in cli("task", "why", "x").out.replace("\n", " ")


def test_what_is_shown_of_it_has_its_looks(cli: Cli, store: Store) -> None:
    since = time.time() - 600
    looked(store, Polling(3, since, 0.0))
    assert f"3 looks since {shown(since)}" in cli("task", "show", "x").out


def test_one_that_never_gives_up_does_not_say_so(cli: Cli, store: Store) -> None:
    store.worker("default", types=("video:",))
    looked(store, Polling(1, time.time(), 0.0))
    assert "gives up" not in reasons(cli)["polling"]


def test_one_that_nobody_brings_back_misses_a_scheduler(cli: Cli, store: Store) -> None:
    store.worker("default", types=("video:",))
    looked(store, Polling(3, time.time(), 0.0), due_in=-60)
    assert list(reasons(cli)) == ["polling", "not_forwarded"]


@pytest.mark.parametrize("holder", ["other", ""])
def test_one_that_waits_for_another_one_says_for_whom(
    cli: Cli, store: Store, raw: redis.Redis, holder: str
) -> None:
    store.worker("default", types=("video:",))
    store.task("video:status", task_id="x", process_in="5m")
    raw.hset(keys.task("default", "x"), "qd_waits", f'["poll","video:status","7","{holder}"]')
    text = reasons(cli)["poll"]
    assert text.startswith("Task other had" if holder else "Somebody had")
    assert "the lock poll:video:status:7 when it came to look" in text


def test_one_that_gave_up_says_so_and_not_that_it_failed(cli: Cli, store: Store) -> None:
    headers = ((polling.HEADER, polling.write(Polling(9, 1.0, 2.0))),)
    terms = Terms(queue="default", error="gave up after 9 looks in 30m: no", headers=headers)
    stored = codec.encode_task(TaskMessage("video:status", b"{}", "x", terms))
    step = tasks.dead_letter("default", "x", stored, now=int(time.time()))
    store.link.execute_many([tasks.announce(["default"]), step])
    (code,) = reasons(cli)
    assert code == "poll_gave_up"
    assert reasons(cli)[code].endswith("it gave up after 9 looks in 30m: no.")


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ((), None),
        (('{"url": "7.mp4"}',), b'{"url": "7.mp4"}'),
        (("7.mp4",), b'"7.mp4"'),
    ],
)
def test_a_poll_that_waits_is_ended_with_a_result(
    cli: Cli, store: Store, raw: redis.Redis, given: tuple[str, ...], stored: bytes | None
) -> None:
    looked(store, Polling(3, time.time(), 0.0))
    assert cli("task", "done", "x", *given).out == "x has ended as done\n"
    assert store.state("x") == TaskState.COMPLETED
    assert raw.hget(keys.task("default", "x"), "result") == stored
    again: dict[str, Any] = cli("task", "done", "x", "--json").json
    assert again == {"schema": "qd.task.done/1", "id": "x", "queue": "default", "ended": True}


def test_one_that_runs_is_told(cli: Cli, store: Store, raw: redis.Redis) -> None:
    store.task(task_id="x")
    store.take()
    done = cli("task", "done", "x", "[1]", "-q", "default")
    assert done.out == "x runs; if it is a poll, it ends as done\n"
    assert store.state("x") == "active"
    assert raw.hget(keys.task("default", "x"), "qd_told") == b"=[1]"


def test_what_is_dead_or_gone_is_refused(cli: Cli, store: Store) -> None:
    store.dead("x")
    assert "is archived, and cannot end as done from there" in cli("task", "done", "x", code=1).err
    assert cli("task", "done", "nothing", code=3).out == ""
