"""How far a task is, on a terminal and off it."""

from __future__ import annotations

import time

from qd.broker.link import Link
from qd.protocol import keys
from qd.protocol.ops import endings
from qd.protocol.ops.endings import Fate, Held
from qd.protocol.progress import Progress, encode
from tests.cli.conftest import Cli, Store
from tests.cli.screen import Terminal


def running(store: Store, task_id: str) -> Held:
    """A task that a worker has taken."""
    store.task(task_id=task_id)
    assert store.take() == [task_id]
    return Held(task_id, 0, int(time.time()) + 600)


def say(link: Link, held: Held, done: float, total: float | None, note: str = "") -> None:
    told = encode(Progress(done, total, note, time.time()))
    assert link.execute(endings.note_progress("default", "o", [(held, told)])) == [Fate.OK]


def test_it_is_shown_with_the_task_and_in_lists(cli: Cli, store: Store) -> None:
    held = running(store, "x1")
    assert "progress" not in cli("task", "show", "x1").out
    say(store.link, held, 4, 10, "encoding")
    assert "40% (4 of 10) encoding" in cli("task", "show", "x1").out
    assert "40% (4 of 10) encoding" in cli("task", "ls").out
    found = cli("task", "ls", "--json").json["tasks"][0]["progress"]
    assert (found["done"], found["total"], found["note"]) == (4, 10, "encoding")


def test_waiting_on_a_terminal_draws_a_bar(redis_url: str, store: Store) -> None:
    held = running(store, "x1")
    say(store.link, held, 4, 10, "encoding")
    with Terminal(["--redis", redis_url, "task", "wait", "x1"], {}) as screen:
        screen.wait("encoding", "4/10")
        say(store.link, held, 7, 10, "packing")
        screen.wait("packing", "7/10")
        store.raw.delete(keys.task("default", "x1"))
        screen.wait("x1 has ended")
        assert screen.end() == 0
        assert not screen.line("packing"), "the bar goes with the wait"


def test_enqueue_and_wait_draws_it_as_well(redis_url: str, store: Store) -> None:
    words = ["--redis", redis_url, "enqueue", "mail", "--id", "x1", "--wait"]
    with Terminal(words, {}) as screen:
        screen.wait("Enqueued mail")
        (taken,) = store.take()
        say(store.link, Held(taken, 0, int(time.time()) + 600), 4, None, "pages")
        screen.wait("pages", "4")
        store.raw.delete(keys.task("default", "x1"))
        assert screen.end() == 0


def test_the_dashboard_shows_it_for_what_runs(redis_url: str, store: Store) -> None:
    say(store.link, running(store, "x1"), 4, 10, "encoding")
    words = ["--redis", redis_url, "dash", "--every", "200ms"]
    with Terminal(words, {}, columns=120) as screen:
        screen.wait("QUEUE", "default")
        screen.press("enter")
        screen.press("right")
        screen.wait("40% (4 of 10) encoding")
