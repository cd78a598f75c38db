"""`qd limit`: what is allowed, what goes on, and values that hold for now."""

from __future__ import annotations

import pytest

from qd import jsoncodec
from qd.protocol import keys
from qd.protocol.ops import limits
from qd.protocol.ops.limits import Bounds, Member
from tests.cli.conftest import Cli, Store

API = Bounds("api", rate=90 / 60, burst=20, slots=2)


@pytest.fixture
def crowd(store: Store) -> Store:
    """Two tasks with slots of a limit, and three in line."""
    document = {"rate": 1.5, "burst": 20, "concurrency": 2, "per": "type", "key": ""}
    store.link.execute(limits.publish({"api": jsoncodec.dumps(document)}))
    store.link.execute(limits.ask(API, "worker-1", [_member(n) for n in range(5)]))
    return store


def _member(number: int) -> Member:
    return Member(keys.task("default", f"t{number}"), "a")


def test_ls_shows_what_runs_and_what_waits(cli: Cli, crowd: Store) -> None:
    assert cli("limit", "ls", "-o", "plain").out == "api\t90/min\t20\t2\ttype\t2\t3\n"
    found = cli("limit", "ls", "--json").json
    assert found["schema"] == "qd.limit.ls/1"
    [one] = found["limits"]
    assert (one["name"], one["rate"], one["concurrency"]) == ("api", 1.5, 2)
    assert (one["running"], one["waiting"], one["set_by_hand"]) == (2, 3, [])


def test_without_limits_it_says_where_they_stand(cli: Cli) -> None:
    assert "configuration" in cli("limit", "ls").err


def test_show_names_the_tasks(cli: Cli, crowd: Store) -> None:
    found = cli("limit", "show", "api", "--json").json["limit"]
    assert [slot["task"] for slot in found["slots"]] == [
        "asynq:{default}:t:t0",
        "asynq:{default}:t:t1",
    ]
    assert found["lines"] == [
        {"key": "a", "waiting": 3, "called": 0, "first": "asynq:{default}:t:t2"}
    ]
    assert "3 wait, the first is asynq:{default}:t:t2" in cli("limit", "show", "api").out


def test_what_is_set_by_hand_holds_until_it_is_reset(cli: Cli, crowd: Store) -> None:
    done = cli("limit", "set", "api", "--rate", "10/s", "--concurrency", "3")
    assert "10/s*" in done.out
    # The scheduler looks at once, and calls one more.
    assert crowd.link.execute(limits.look(API))[1] == [_member(2)]
    found = cli("limit", "ls", "--json").json["limits"][0]
    assert (found["rate"], found["burst"], found["concurrency"]) == (10.0, 20, 3)
    assert found["configured"] == {"rate": 1.5, "concurrency": 2}
    assert cli("limit", "reset", "api", "--json").json["limit"]["set_by_hand"] == []


def test_wrong_words_are_refused_with_the_right_ones(cli: Cli, crowd: Store) -> None:
    assert 'Did you mean "api"?' in cli("limit", "show", "apo", code=3).err
    assert "90/min" in cli("limit", "set", "api", "--rate", "fast", code=2).err
    assert cli("limit", "set", "api", code=2)


def test_why_says_what_a_parked_task_waits_for(cli: Cli, crowd: Store) -> None:
    crowd.task(task_id="t3", process_in="5m")
    waits = '["limit","api","a"]'
    crowd.raw.hset(keys.task("default", "t3"), "qd_waits", waits)
    crowd.worker("default")
    found = cli("task", "why", "t3", "--json").json["why"]["reasons"]
    assert [one["code"] for one in found] == ["limit", "safety"]
    assert found[0]["text"] == (
        "It waits at the limit api for a: 2 of 2 slots are taken, by t0, t1; "
        "1 task is ahead of it, about 667ms at its rate."
    )
    assert cli("task", "show", "t3", "--json").json["task"]["waits_for"] == ["limit", "api", "a"]
