"""`qd dlq`: look at dead tasks, bring them back, delete them, carry them elsewhere."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from pathlib import Path

from qd.broker.connect import open_link
from qd.broker.endpoint import parse_addresses
from qd.inspector.inspector import Inspector
from qd.protocol import keys
from qd.protocol.state import TaskState
from tests.cli.conftest import Cli, Store
from tests.support.procs import running
from tests.support.wait import eventually


def _dead(cli: Cli, *args: str) -> list[str]:
    return [one["id"] for one in cli("dlq", "ls", *args, "--json").json["tasks"]]


def test_ls_shows_dead_tasks_of_all_queues(cli: Cli, store: Store) -> None:
    store.dead("x1", error="TimeoutError: slow\nTraceback ...", ago=7200)
    store.dead("x2", queue="low")
    store.task(task_id="alive")
    table = cli("dlq", "ls").lines
    assert table[0].split() == [
        "ID", "TYPE", "QUEUE", "STATE", "DIED", "RETRIES", "ERROR", "PAYLOAD",
    ]  # fmt: skip
    assert "2h ago" in table[1]
    assert "3/3" in table[1]
    assert "TimeoutError: slow " in table[1]
    assert _dead(cli) == ["x1", "x2"]
    assert _dead(cli, "--older", "1h") == ["x1"]
    assert cli("dlq", "ls", "--type", "z").err == "No dead tasks match.\n"


def test_poison_is_shown_as_such(cli: Cli, store: Store) -> None:
    store.dead("x1", deaths=2)
    assert "poison" in cli("dlq", "ls").out
    assert "poison" in cli("dlq", "show", "x1").out


def test_show_has_the_whole_error(cli: Cli, store: Store) -> None:
    store.dead("x1", error="first line\nsecond line")
    assert r"first line\nsecond line" in cli("dlq", "show", "x1").out
    assert cli("dlq", "show", "x1", "--json").json["task"]["error"] == "first line\nsecond line"
    store.task(task_id="alive")
    assert "is pending, not dead" in cli("dlq", "show", "alive", code=1).err
    cli("dlq", "show", "nope", code=3)


def test_groups_put_errors_of_one_kind_together(cli: Cli, store: Store) -> None:
    """Numbers and ids do not make another kind; the type does."""
    store.dead("x1", error="no user 12 in 3f2a9c5e-0000-4000-8000-0123456789ab", ago=60)
    store.dead("x2", error="no user 7 in 00000000-1111-4000-8000-0123456789ab", queue="low")
    store.dead("x3", "b", error="no user 9 in 00000000-1111-4000-8000-0123456789ab")
    found = cli("dlq", "groups", "--json").json["groups"]
    assert [(one["type"], one["count"], one["error"]) for one in found] == [
        ("a", 2, "no user <n> in <id>"),
        ("b", 1, "no user <n> in <id>"),
    ]
    assert (found[0]["example"], found[0]["exception"]) == ("x2", "")
    assert sum(found[0]["history"]) == 2
    assert (found[0]["history"][0], found[0]["history"][-1]) == (1, 1)
    assert found[0]["queues"] == ["default", "low"]
    assert "2  " in cli("dlq", "groups").lines[1]


def test_requeue_by_id_gives_all_retries_back(cli: Cli, store: Store) -> None:
    store.dead("x1", queue="low")
    store.dead("x2", queue="low")
    assert cli("dlq", "requeue", "x1").out == "Requeue: 1 task done\n"
    view = Inspector(store.link).tasks.get("low", "x1")
    assert (view.state, view.retried, view.max_retry) == ("pending", 0, 3)
    cli("dlq", "requeue", "x2", "--keep-retries")
    assert Inspector(store.link).tasks.get("low", "x2").retried == 3


def test_requeue_of_what_is_not_dead_changes_nothing(cli: Cli, store: Store) -> None:
    store.dead("x1")
    store.task(task_id="alive")
    cli("dlq", "requeue", "x1", "nope", code=3)
    cli("dlq", "requeue", "x1", "alive", code=1)
    assert store.state("x1") == "archived"


def test_requeue_all_takes_the_filters(cli: Cli, store: Store) -> None:
    store.dead("a-old", "a", error="Timeout", ago=7200)
    store.dead("a-new", "a", error="Timeout")
    store.dead("a-bad", "a", error="ValueError", ago=7200)
    store.dead("b-old", "b", error="Timeout", ago=7200)
    store.dead("low", "a", error="Timeout", ago=7200, queue="low")
    chosen = ("--all", "--type", "a", "--error", "Time", "--older", "1h")
    done = cli("dlq", "requeue", *chosen, "-q", "default", "-y", "--json")
    assert (done.json["matched"], done.json["done"]) == (1, 1)
    assert cli("dlq", "requeue", *chosen, "-y", "--json").json["queues"] == {"low": 1}
    assert _dead(cli) == ["a-bad", "b-old", "a-new"]


def test_requeue_all_asks_and_needs_yes_without_a_terminal(cli: Cli, store: Store) -> None:
    for number in range(5):
        store.dead(f"x{number}")
    done = cli("dlq", "requeue", "--all", code=5)
    assert [f"x{number}" in done.err for number in range(5)] == [True] * 3 + [False] * 2
    assert "Requeue 5 tasks?" in done.err
    assert len(_dead(cli)) == 5


def test_requeue_dry_run_changes_nothing(cli: Cli, store: Store) -> None:
    store.dead("x1")
    done = cli("dlq", "requeue", "--all", "--dry-run")
    assert done.out == "Requeue: 1 task would be\n"
    assert "x1" in done.err
    assert store.state("x1") == "archived"


def test_requeue_takes_no_more_than_the_limit(cli: Cli, store: Store) -> None:
    for number in range(5):
        store.dead(f"x{number}", ago=100 - number)
    assert cli("dlq", "requeue", "--all", "--limit", "2", "-y", "--json").json["done"] == 2
    assert _dead(cli) == ["x2", "x3", "x4"]


def test_requeue_is_no_faster_than_the_rate(cli: Cli, store: Store) -> None:
    for number in range(6):
        store.dead(f"x{number}")
    started = time.monotonic()
    assert cli("dlq", "requeue", "--all", "--rate", "20/s", "-y", "--json").json["done"] == 6
    assert time.monotonic() - started >= 4 / 20
    cli("dlq", "requeue", "--all", "--rate", "20", code=2)


class Fate:
    """Ends tasks that are let run, as workers would: the first *good* ones well, others badly."""

    def __init__(self, url: str, good: int) -> None:
        self._link = open_link(parse_addresses([url]))
        self._good = good
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._link.close()

    def _run(self) -> None:
        tasks = Inspector(self._link).tasks
        while not self._stop.wait(0.005):
            for view in tasks.list("default", TaskState.PENDING):
                if self._good > 0:
                    tasks.delete("default", view.id)
                else:
                    tasks.archive("default", view.id)
                self._good -= 1


def test_the_rest_follows_when_the_canaries_live(cli: Cli, store: Store) -> None:
    for number in range(20):
        store.dead(f"x{number:02}", ago=100 - number)
    with Fate(cli.url, good=20):
        done = cli("dlq", "requeue", "--all", "--canary", "3", "-y", "--json").json
    assert (done["done"], done["stopped"]) == (20, None)
    assert done["watched"]["failed"] == 0
    assert done["watched"]["ended"] >= 3


def test_nothing_follows_when_a_canary_dies(cli: Cli, store: Store) -> None:
    for number in range(20):
        store.dead(f"x{number:02}", ago=100 - number)
    with Fate(cli.url, good=2):
        done = cli("dlq", "requeue", "--all", "--canary", "3", "-y", "--json", code=4)
    assert (done.json["done"], done.json["watched"]) == (3, {"ended": 3, "failed": 1})
    assert "1 of 3 that have ended have failed again" in done.err
    assert len(_dead(cli)) == 18


def test_canaries_that_do_not_end_hold_up_the_rest(cli: Cli, store: Store) -> None:
    for number in range(5):
        store.dead(f"x{number}")
    args = ("--all", "--canary", "2", "--canary-wait", "100ms", "-y")
    done = cli("dlq", "requeue", *args, code=4)
    assert "2 of 2 canaries have not ended after 100ms" in done.err
    assert "2 tasks done, 3 of 5 left as they were" in done.out


def test_requeue_stops_when_too_many_fail_again(cli: Cli, store: Store) -> None:
    for number in range(200):
        store.dead(f"x{number:03}", ago=1000 - number)
    args = ("--all", "--rate", "50/s", "--abort-if-failed", "20%", "-y", "--json")
    with Fate(cli.url, good=0):
        done = cli("dlq", "requeue", *args, code=4).json
    assert 10 <= done["done"] < 200
    assert "have failed again" in done["stopped"]
    cli("dlq", "requeue", "--all", "--abort-if-failed", "20", code=2)


def test_requeue_to_another_queue_takes_the_task_along(cli: Cli, store: Store) -> None:
    store.dead("x1", payload=b'{"n":  1}')
    store.task(task_id="x2", queue="slow")
    store.dead("x2")
    store.dead("x3", queue="slow")
    args = ("--all", "--to", "slow", "-y", "--json")
    done = cli("dlq", "requeue", *args, code=4).json
    assert (done["matched"], done["done"]) == (3, 2), "the id of x2 is in use there"
    view = Inspector(store.link).tasks.get("slow", "x1")
    assert (view.state, view.retried, view.payload) == ("pending", 0, b'{"n":  1}')
    assert (store.state("x1"), store.state("x2")) == (None, "archived")
    assert store.state("x3", "slow") == "pending"


def _editor(folder: Path, script: str) -> dict[str, str]:
    program = folder / "editor"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"VISUAL": "", "EDITOR": str(program)}


def test_the_payload_can_be_edited_on_the_way(cli: Cli, store: Store, tmp_path: Path) -> None:
    store.dead("x1", payload=b'{"n": 1}')
    store.dead("x2", payload=b'{"n":  1}')
    cli("dlq", "requeue", "x1", "--edit", env=_editor(tmp_path, "sed -i 's/1/2/' $1"))
    view = Inspector(store.link).tasks.get("default", "x1")
    assert (view.state, view.payload) == ("pending", b'{"n":2}')
    cli("dlq", "requeue", "x2", "--edit", env=_editor(tmp_path, "true"))
    assert Inspector(store.link).tasks.get("default", "x2").payload == b'{"n":  1}'


def test_an_edited_payload_must_be_json(cli: Cli, store: Store, tmp_path: Path) -> None:
    store.dead("x1")
    wrong = _editor(tmp_path, "echo '{' > $1")
    assert (
        "is not JSON" in cli("dlq", "requeue", "x1", "--edit", stdin="n\n", code=2, env=wrong).err
    )
    assert store.state("x1") == "archived"
    store.dead("x2", payload=b"\xff")
    assert "cannot be edited" in cli("dlq", "requeue", "x2", "--edit", code=2, env=wrong).err
    cli("dlq", "requeue", "--all", "--edit", code=2)


def test_ctrl_c_stops_between_two_steps_and_says_how_far(cli: Cli, store: Store) -> None:
    for number in range(100):
        store.dead(f"x{number:02}", ago=200 - number)
    command = ("dlq", "requeue", "--all", "--rate", "20/s", "-y", "--json")
    program = (sys.executable, "-m", "qd", "--redis", cli.url, *command)
    with running(*program) as proc:
        eventually(lambda: store.raw.llen(keys.pending("default")) > 5, 20)
        proc.signal(signal.SIGINT)
        assert proc.wait(10) == 130
    done = json.loads(proc.out.text())
    assert done["stopped"] == "interrupted"
    assert done["done"] == store.raw.llen(keys.pending("default"))
    assert len(_dead(cli, "--limit", "0")) == 100 - done["done"]
    assert "goes on with the rest" in proc.err.text()


def test_nothing_to_requeue_is_no_failure(cli: Cli) -> None:
    assert cli("dlq", "requeue", "--all", "-y").out == "Requeue: 0 tasks done\n"
    assert "--all" in cli("dlq", "requeue", code=2).err


def test_rm_deletes_dead_tasks(cli: Cli, store: Store) -> None:
    store.dead("x1")
    store.dead("x2", "b")
    cli("dlq", "rm", "x1", code=5)
    cli("dlq", "rm", "x1", "-y")
    cli("dlq", "rm", "--all", "--type", "b", "-y")
    assert _dead(cli) == []
    assert store.state("x1") is None


def test_purge_empties_the_dead_letters_of_a_queue(cli: Cli, store: Store) -> None:
    store.dead("x1")
    store.dead("x2", queue="low")
    assert cli("dlq", "purge", "default", "-y").out == "1 dead task deleted from default\n"
    assert _dead(cli) == ["x2"]
    cli("dlq", "purge", "nope", "-y", code=3)


def test_exported_tasks_can_be_imported_byte_for_byte(cli: Cli, store: Store) -> None:
    store.dead("x1", error="Timeout", payload=b'{"n":  1}')
    store.dead("x2", queue="low", payload=b"\x00\xff")
    assert cli("dlq", "export", "dead.jsonl").err == "2 dead tasks exported\n"
    assert _dead(cli) == ["x1", "x2"]
    tasks = Inspector(store.link).tasks
    before = [tasks.get("default", "x1"), tasks.get("low", "x2")]
    cli("dlq", "rm", "--all", "-y")
    done = cli("dlq", "import", "dead.jsonl", "--json")
    assert done.json == {"schema": "qd.dlq.import/1", "imported": 2, "refused": []}
    for old, new in zip(before, [tasks.get("default", "x1"), tasks.get("low", "x2")], strict=True):
        assert (new.payload, new.error, new.max_retry) == (old.payload, old.error, old.max_retry)
        assert new.state == TaskState.ARCHIVED


def test_import_twice_changes_nothing_more(cli: Cli, store: Store) -> None:
    store.dead("x1")
    text = cli("dlq", "export", "-").out
    assert json.loads(text)["id"] == "x1"
    done = cli("dlq", "import", "-", stdin=text, code=1)
    assert done.err.startswith("line 1: id x1 is in use")
    assert cli("dlq", "import", "-", "-q", "low", stdin=text).out == "1 dead task imported\n"


def test_import_names_the_lines_it_refuses(cli: Cli, store: Store) -> None:
    good = '{"id": "x1", "queue": "default", "type": "a", "payload": {"n": 1}}'
    done = cli("dlq", "import", "-", stdin=f'nope\n{good}\n{{"id": "x2"}}\n', code=4, env={})
    assert done.out == "1 dead task imported, 2 lines refused\n"
    assert _dead(cli) == ["x1"]


def test_export_overwrites_nothing(cli: Cli) -> None:
    Path("dead.jsonl").write_text("mine")
    cli("dlq", "export", "dead.jsonl", code=2)
    assert Path("dead.jsonl").read_text() == "mine"
