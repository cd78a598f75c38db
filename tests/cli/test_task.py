"""`qd task`: look at tasks in any state, and intervene."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
import redis

from qd.protocol import codec, keys
from qd.protocol.ops import endings
from qd.protocol.ops.endings import Ending, Held
from tests.cli.conftest import ENVIRONMENT, Cli, Store
from tests.cli.screen import Terminal
from tests.support.wait import eventually


def _ids(cli: Cli, *args: str) -> list[str]:
    return [one["id"] for one in cli("task", "ls", *args, "--json").json["tasks"]]


def _end(store: Store, task_id: str, *, result: bytes | None) -> None:
    """Let the worker that has the task complete it, or archive it without a result."""
    until = int(time.time()) + 60
    stored = store.raw.hget(keys.task("default", task_id), "msg")
    assert isinstance(stored, bytes)
    message = codec.encode_task(codec.with_terms(codec.decode_task(stored), error="broken"))
    ending = Ending(Held(task_id, 0, until), message=message, at=until, result=result)
    end = endings.archive if result is None else endings.complete
    step = end("default", "o", [ending], day="2030-01-01", now=int(time.time()))
    assert store.link.execute(step) == [endings.Fate.OK]


def test_ls_shows_tasks_of_all_queues_and_states(cli: Cli, store: Store) -> None:
    store.task(task_id="x1", payload={"n": 1})
    store.task(task_id="x2", queue="low", process_in="1h")
    store.dead("x3")
    table = cli("task", "ls").lines
    assert table[0].split() == [
        "ID", "TYPE", "QUEUE", "STATE", "RETRIES", "WHEN", "PROGRESS", "PAYLOAD", "ERROR",
    ]  # fmt: skip
    assert '{"n":1}' in table[1]
    assert "in 60m" in "\n".join(table)
    assert set(_ids(cli)) == {"x1", "x2", "x3"}


def test_ls_filters(cli: Cli, store: Store) -> None:
    store.task("a", task_id="x1")
    store.task("b", task_id="x2", queue="low")
    store.dead("old", "a", error="TimeoutError: slow", ago=7200)
    store.dead("new", "b", error="ValueError: bad")
    assert _ids(cli, "-q", "low") == ["x2"]
    assert _ids(cli, "--type", "a", "--state", "pending") == ["x1"]
    assert _ids(cli, "--error", "Time.*slow") == ["old"]
    assert _ids(cli, "--state", "archived", "--older", "1h") == ["old"]
    assert _ids(cli, "--state", "archived", "--state", "pending", "--limit", "1") == ["old"]
    assert cli("task", "ls", "--type", "z").err == "No tasks match.\n"


def _pages(cli: Cli, *args: str) -> list[str]:
    """The ids of all pages, one after the other."""
    found, go_on = [], []
    while True:
        page = cli("task", "ls", *args, *go_on, "--json").json
        found += [one["id"] for one in page["tasks"]]
        if not page["more"]:
            return found
        go_on = ["--cursor", page["cursor"]]


def test_pages_follow_each_other_through_all_queues_and_states(cli: Cli, store: Store) -> None:
    for number in range(5):
        store.task(task_id=f"p{number}")
        store.task(task_id=f"g{number}", group=f"group{number % 2}")
        store.task(task_id=f"s{number}", process_in=100 + number, queue="low")
        store.dead(f"d{number}", ago=50)
    whole = _pages(cli, "--limit", "0")
    assert len(whole) == 20
    for limit in ("1", "2", "3", "7", "19", "20"):
        assert _pages(cli, "--limit", limit) == whole
    assert _pages(cli, "--limit", "2", "--error", "broken") == [f"d{n}" for n in range(5)]


def test_a_page_is_found_again_although_tasks_have_left(cli: Cli, store: Store) -> None:
    for number in range(6):
        store.task(task_id=f"p{number}")
    go_on = cli("task", "ls", "--limit", "3", "--json").json["cursor"]
    store.take(count=2)
    assert _ids(cli, "--state", "pending", "--cursor", go_on) == ["p3", "p4", "p5"]


def test_a_wrong_cursor_is_refused(cli: Cli, store: Store) -> None:
    store.task(task_id="x1")
    store.task(task_id="x2")
    go_on = cli("task", "ls", "--limit", "1", "--json").json["cursor"]
    assert "is no cursor" in cli("task", "ls", "--cursor", "x", code=2).err
    assert "not asked for" in cli("task", "ls", "--state", "retry", "--cursor", go_on, code=2).err
    cli("task", "ls", "--sort", "id", "--cursor", go_on, code=2)


def test_what_is_shown_stands_beside_the_total(cli: Cli, store: Store) -> None:
    for number in range(5):
        store.dead(f"d{number}", error="Timeout" if number > 2 else "broken")
    page = cli("task", "ls", "--error", "Timeout", "--json").json
    assert (len(page["tasks"]), page["looked_at"], page["total"]) == (2, 5, 5)
    assert "2 shown, 5 looked at of 5 tasks" in cli("task", "ls", "--error", "Timeout").err
    counted = cli("task", "ls", "--error", "Timeout", "--count", "--json").json
    assert (counted["matched"], counted["total"]) == (2, 5)
    assert counted["counts"] == [{"queue": "default", "state": "archived", "type": "a", "tasks": 2}]


def test_sort_puts_all_that_match_in_order(cli: Cli, store: Store) -> None:
    for number, ago in enumerate((20, 60, 40)):
        store.dead(f"d{number}", f"type{ago}", ago=ago)
    assert _ids(cli, "--sort", "since") == ["d1", "d2", "d0"]
    assert _ids(cli, "--sort", "-since", "--limit", "2") == ["d0", "d2"]
    assert _ids(cli, "--sort", "type", "--limit", "0") == ["d0", "d2", "d1"]


def test_payloads_are_searched_by_place_and_value(cli: Cli, store: Store) -> None:
    store.task(task_id="x1", payload={"user": {"id": 42}, "tags": ["a", "b"], "on": True})
    store.task(task_id="x2", payload={"user": {"id": "42"}, "tags": []})
    store.task(task_id="x3", payload={"user": 1, "on": 1})
    store.dead("x4", payload=b"not json")
    assert _ids(cli, "--payload", "user.id=42") == ["x1", "x2"]
    assert _ids(cli, "--payload", "user.id=42", "--payload", "on=true") == ["x1"]
    assert _ids(cli, "--payload", "tags.1=b") == ["x1"]
    assert _ids(cli, "--payload", 'user={"id":42}') == ["x1"]
    cli("task", "ls", "--payload", "user.id", code=2)


def test_since_and_older_bound_the_time_in_a_state(cli: Cli, store: Store) -> None:
    store.dead("new")
    store.dead("old", ago=3 * 3600)
    store.dead("ancient", ago=3 * 86_400)
    store.task(task_id="later", process_in="1h")
    assert _ids(cli, "--since", "1h") == ["new"]
    assert _ids(cli, "--older", "1h") == ["ancient", "old"]
    assert _ids(cli, "--since", "1d", "--older", "1h") == ["old"]
    assert _ids(cli, "--older", "yesterday") == ["ancient"]
    assert _ids(cli, "--since", "2020-01-01", "--older", "2020-01-02T00:00:00Z") == []
    assert "yesterday" in cli("task", "ls", "--since", "1", code=2).err


def test_all_tasks_are_streamed_as_lines(cli: Cli, store: Store) -> None:
    for number in range(230):
        store.dead(f"d{number:03}", ago=300 - number)
    lines = cli("task", "ls", "--limit", "0", "-o", "jsonl").lines
    assert [json.loads(one)["id"] for one in lines] == [f"d{n:03}" for n in range(230)]
    assert len(cli("task", "ls", "--limit", "0", "-o", "plain").lines) == 230


def test_show_finds_a_task_wherever_it_is(cli: Cli, store: Store) -> None:
    store.task(task_id="x1", queue="low", payload={"n": 1}, headers={"trace": "t"})
    shown = cli("task", "show", "x1").out
    assert '{"n":1}' in shown
    assert "header trace" in shown
    assert cli("task", "show", "x1", "-q", "low", "--json").json["task"]["payload"] == {"n": 1}
    cli("task", "show", "x2", code=3)
    cli("task", "show", "x1", "-q", "default", code=3)


def test_cancel_is_for_running_tasks(cli: Cli, store: Store, raw: redis.Redis) -> None:
    store.task(task_id="x1")
    assert "is pending, not running" in cli("task", "cancel", "x1", code=1).err
    assert store.take() == ["x1"]
    heard = raw.pubsub()
    heard.subscribe(keys.CANCEL_CHANNEL)
    assert heard.get_message(timeout=5)["type"] == "subscribe"
    assert cli("task", "cancel", "x1", "--json").json["done"] == [
        {"id": "x1", "queue": "default", "heard_by": 1}
    ]
    assert heard.get_message(timeout=5)["data"] == b"x1"
    heard.close()


def test_run_lets_a_waiting_task_run_now(cli: Cli, store: Store) -> None:
    store.task(task_id="x1", process_in="1h")
    assert cli("task", "run", "x1").out == "Run: 1 task done\n"
    assert store.state("x1") == "pending"
    assert "this needs" in cli("task", "run", "x1", code=1).err


def test_archive_keeps_a_task_from_running(cli: Cli, store: Store) -> None:
    store.task(task_id="x1")
    cli("task", "archive", "x1")
    assert store.state("x1") == "archived"


def test_rm_asks_and_shows_what_it_is_about(cli: Cli, store: Store) -> None:
    store.task(task_id="x1")
    done = cli("task", "rm", "x1", code=5)
    assert "x1  a  default  pending" in done.err
    assert store.state("x1") == "pending"
    cli("task", "rm", "x1", "-y")
    assert store.state("x1") is None


def test_one_wrong_id_of_several_changes_nothing(cli: Cli, store: Store) -> None:
    store.task(task_id="x1")
    cli("task", "rm", "x1", "x2", "-y", code=3)
    assert store.state("x1") == "pending"


def test_running_task_cannot_be_deleted(cli: Cli, store: Store) -> None:
    store.task(task_id="x1")
    store.take()
    cli("task", "rm", "x1", "-y", code=1)
    assert store.state("x1") == "active"


def test_all_with_filters_acts_on_what_matches(cli: Cli, store: Store) -> None:
    for number in range(3):
        store.task("a", task_id=f"a{number}", process_in="1h")
        store.task("b", task_id=f"b{number}", process_in="1h")
    chosen = ("task", "run", "--all", "--state", "scheduled", "--type", "a")
    dry = cli(*chosen, "--dry-run", "--json").json
    assert (dry["matched"], dry["done"], dry["dry_run"]) == (3, 0, True)
    assert store.state("a0") == "scheduled"
    assert cli(*chosen, "-y", "--json").json["queues"] == {"default": 3}
    assert store.state("a0") == "pending"
    assert store.state("b0") == "scheduled"


@pytest.mark.parametrize(
    "args", [["run"], ["run", "x1", "--all", "--state", "retry"], ["rm", "--all", "-y"]]
)
def test_what_is_meant_has_to_be_said(cli: Cli, args: list[str]) -> None:
    cli("task", *args, code=2)


def test_wait_tells_how_a_task_has_ended(cli: Cli, store: Store) -> None:
    for name in ("good", "bad"):
        store.task(task_id=name)
    assert store.take(count=2) == ["good", "bad"]
    _end(store, "good", result=b'{"url": "x"}')
    _end(store, "bad", result=None)
    assert cli("task", "wait", "good").out == 'good completed: {"url": "x"}\n'
    done = cli("task", "wait", "bad", "--json", code=1)
    assert (done.json["state"], done.json["task"]["error"]) == ("archived", "broken")


def test_wait_ends_when_the_task_is_gone(redis_url: str, store: Store, raw: redis.Redis) -> None:
    store.task(task_id="x1")
    process = subprocess.Popen(
        [sys.executable, "-m", "qd", "--redis", redis_url, "task", "wait", "x1", "-o", "plain"],
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
    )

    def listens() -> bool:
        return any(
            "t" in one["flags"] and one["cmd"].startswith("eval") for one in raw.client_list()
        )

    eventually(listens, 10)
    raw.delete(keys.task("default", "x1"))
    out, _ = process.communicate(timeout=10)
    assert (process.returncode, out) == (0, b"gone\n")


def test_wait_gives_up_with_124(cli: Cli, store: Store) -> None:
    store.task(task_id="x1")
    assert "still pending" in cli("task", "wait", "x1", "--timeout", "50ms", code=124).err


def test_of_a_made_id_its_first_eight_characters_will_do(cli: Cli, store: Store) -> None:
    made = store.task().id
    assert cli("task", "show", made[:8], "--json").json["task"]["id"] == made
    assert (
        cli("task", "why", made[:13], "-q", "default", "--json").json["why"]["task"]["id"] == made
    )
    assert cli("task", "show", made[:7], code=3).err
    assert cli("task", "rm", made[:8], made, "-y", "--json").json["done"] == 1


def test_a_chosen_id_is_not_taken_for_another_that_begins_so(cli: Cli, store: Store) -> None:
    """Where order-1 has ended, order-10 is not meant."""
    for task_id in ("order-10", "20300131-10", "beef0000-10"):
        store.task(task_id=task_id)
    for beginning in ("order-1", "20300131-1", "beef0000-1", "beef0000"):
        cli("task", "rm", beginning, "-y", code=3)


def test_a_beginning_that_several_ids_have_is_refused(cli: Cli, store: Store) -> None:
    ids = [f"0197c0de-0000-4000-8000-00000000000{n}" for n in range(2)]
    for task_id in ids:
        store.task(task_id=task_id)
    said = cli("task", "rm", "0197c0de", "-y", code=1).err
    assert all(one in said for one in ids)
    assert [store.state(one) for one in ids] == ["pending", "pending"]


def test_on_a_narrow_terminal_made_ids_are_cut_and_errors_can_be_read(
    cli: Cli, store: Store
) -> None:
    made = "0197c0de-1234-4000-8000-000000000000"
    store.dead(made, error="TimeoutError: the bank is silent")
    store.dead("chosen-by-somebody")
    wide = cli("dlq", "ls", "--color", "always").out
    assert made in wide
    with Terminal(["--redis", store.url, "dlq", "ls"], {}, columns=80) as screen:
        screen.wait("0197c0de…", "Timeout", "chosen-by-somebody")
