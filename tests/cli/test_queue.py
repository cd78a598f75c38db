"""`qd queue`, `qd stats`, `qd group`: look at queues and intervene."""

from __future__ import annotations

from qd.inspector.inspector import Inspector
from tests.cli.conftest import Cli, Store


def test_ls_shows_every_queue(cli: Cli, store: Store) -> None:
    store.task()
    store.task(queue="low", process_in="1h")
    table = cli("queue", "ls").lines
    assert table[0].split()[:4] == ["QUEUE", "STATE", "PENDING", "ACTIVE"]
    assert [line.split()[0] for line in table[1:]] == ["default", "low"]
    found = cli("queue", "ls", "--json").json
    assert found["schema"] == "qd.queue.ls/1"
    assert [(one["name"], one["scheduled"]) for one in found["queues"]] == [
        ("default", 0),
        ("low", 1),
    ]
    assert len(cli("queue", "ls", "-o", "jsonl").lines) == 2
    assert cli("queue", "ls", "-o", "plain").out.startswith("default\trunning\t1\t0\t")


def test_ls_without_queues_says_so_on_stderr(cli: Cli) -> None:
    done = cli("queue", "ls")
    assert done.out == ""
    assert "no queues" in done.err
    assert cli("queue", "ls", "--json").json["queues"] == []


def test_prefix_hides_the_queues_of_other_environments(cli: Cli, store: Store) -> None:
    store.task(queue="prod_a")
    store.task(queue="test_a", task_id="t1")
    prod = ("--set", "queue_prefix=prod_")
    assert cli(*prod, "queue", "ls", "-o", "plain").out.startswith("prod_a\t")
    assert len(cli(*prod, "queue", "ls", "-o", "plain").lines) == 1
    assert cli(*prod, "queue", "show", "a", "--json").json["queue"]["name"] == "prod_a"
    assert 'Did you mean "a"?' in cli(*prod, "queue", "show", "a1", code=3).err
    assert cli(*prod, "task", "show", "t1", code=3)


def test_show_tells_everything_about_one(cli: Cli, store: Store) -> None:
    store.task()
    shown = cli("queue", "show", "default").out
    assert "pending" in shown
    found = cli("queue", "show", "default", "--json").json["queue"]
    assert found["pending"] == 1
    assert found["memory"] > 0


def test_history_has_a_line_for_each_day(cli: Cli, store: Store) -> None:
    store.task()
    assert len(cli("queue", "history", "default", "--days", "3").lines) == 4
    found = cli("queue", "history", "default", "--days", "3", "--json").json
    assert (found["queue"], len(found["days"])) == ("default", 3)


def test_pause_and_resume_say_what_is_so_now(cli: Cli, store: Store) -> None:
    """Doing it twice is no error."""
    store.task()
    assert cli("queue", "pause", "default").out == "default is now paused\n"
    assert cli("queue", "pause", "default").out == "default is already paused\n"
    assert cli("queue", "ls", "--json").json["queues"][0]["paused"] is True
    assert cli("queue", "resume", "default", "--json").json["done"] == [
        {"queue": "default", "paused": False, "changed": True}
    ]
    assert cli("queue", "resume", "default").out == "default is already running\n"


def test_one_wrong_name_of_several_is_partly_done(cli: Cli, store: Store) -> None:
    store.task()
    done = cli("queue", "pause", "default", "nope", code=4)
    assert done.out == "default is now paused\n"
    assert '"nope"' in done.err
    cli("queue", "pause", "nope", code=3)


def test_purge_without_a_terminal_needs_yes(cli: Cli, store: Store) -> None:
    store.task(task_id="x1")
    done = cli("queue", "purge", "default", code=5)
    assert "Delete 1 task from default?" in done.err
    assert "x1" in done.err
    assert store.state("x1") == "pending"


def test_purge_deletes_all_but_running_tasks(cli: Cli, store: Store) -> None:
    store.task(task_id="run")
    assert store.take() == ["run"]
    for name in ("x1", "x2"):
        store.task(task_id=name)
    store.dead("x3")
    assert cli("queue", "purge", "default", "-y").out == "3 tasks deleted from default\n"
    assert [store.state(name) for name in ("run", "x1", "x3")] == ["active", None, None]
    assert cli("queue", "purge", "default").err == "There is nothing to delete.\n"


def test_purge_of_one_state_leaves_the_others(cli: Cli, store: Store) -> None:
    store.task(task_id="x1")
    store.dead("x2")
    found = cli("queue", "purge", "default", "--state", "archived", "-y", "--json").json
    assert found["done"] == [{"queue": "default", "deleted": 1}]
    assert store.state("x1") == "pending"


def test_rm_refuses_a_queue_with_tasks_unless_forced(cli: Cli, store: Store) -> None:
    store.task(task_id="x1")
    assert "not empty" in cli("queue", "rm", "default", code=1).err
    assert "Remove default with 1 task?" in cli("queue", "rm", "default", "--force", code=5).err
    assert cli("queue", "rm", "default", "--force", "-y").out == "default removed, 1 task deleted\n"
    assert Inspector(store.link).queues.names() == []


def test_stats_sums_up(cli: Cli, store: Store) -> None:
    store.task()
    store.dead("x1", queue="low")
    shown = cli("stats").out
    assert "2 queues, 2 tasks; 0 processed today, 0 failed" in shown
    found = cli("stats", "--json").json["stats"]
    assert (found["totals"]["size"], found["totals"]["archived"]) == (2, 1)
    assert found["redis"]["version"]
    assert "size\t2" in cli("stats", "-o", "plain").lines


def test_group_ls_counts_the_tasks_of_each_group(cli: Cli, store: Store) -> None:
    store.task(group="g1")
    store.task(group="g1")
    store.task(group="g2", queue="low")
    found = cli("group", "ls", "--json").json["groups"]
    assert found == [
        {"queue": "default", "name": "g1", "size": 2},
        {"queue": "low", "name": "g2", "size": 1},
    ]
    assert len(cli("group", "ls", "-q", "low").lines) == 2
    assert cli("task", "ls", "--group", "g1", "--json").json["tasks"][0]["group"] == "g1"
