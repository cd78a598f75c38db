"""`qd dash`, driven over a real terminal."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from rich.cells import cell_len

from qd import App, Context
from tests.cli.screen import Terminal
from tests.support.servers import RedisServer
from tests.support.wait import eventually

pytestmark = pytest.mark.process

Open = Callable[..., Terminal]


@pytest.fixture
def app(server: RedisServer) -> Iterator[App]:
    app = App("dash", config={"redis": {"addrs": [server.url]}})
    yield app
    app.close()


@pytest.fixture
def open_dash(server: RedisServer) -> Iterator[Open]:
    """Start `qd dash` on a terminal of its own."""
    with ExitStack() as stack:

        def start(*flags: str, env: dict[str, str] | None = None, **size: int) -> Terminal:
            own = {"QD_REDIS__ADDRS": server.url, **(env or {})}
            words = ["dash", "--every", "200ms", *flags]
            return stack.enter_context(Terminal(words, own, **size))

        yield start


def fill(app: App, **counts: int) -> None:
    for queue, count in counts.items():
        for number in range(count):
            app.client.enqueue("mail", {"n": number}, queue=queue, task_id=f"{queue}-{number}")


def dead(app: App, task_id: str, queue: str = "low") -> None:
    app.client.enqueue("mail", queue=queue, task_id=task_id)
    app.inspector().tasks.archive(queue, task_id)


def test_queues_are_shown_with_their_numbers_as_they_change(app: App, open_dash: Open) -> None:
    fill(app, high=3, low=1)
    screen = open_dash()
    screen.wait("QUEUE", "high", "low", "waiting 4", "[q] quit")
    assert screen.line("high").split()[:3] == ["high", "running", "3"]
    fill(app, other=2)
    screen.wait("other", "waiting 6")


@pytest.mark.parametrize("size", [(80, 24), (60, 15), (200, 60)], ids=str)
def test_it_fits_terminals_of_all_sizes(app: App, open_dash: Open, size: tuple[int, int]) -> None:
    fill(app, **{f"queue-{number:02}": 1 for number in range(40)})
    columns, lines = size
    screen = open_dash(columns=columns, lines=lines)
    shown = screen.wait("waiting 40", "[q] quit", "queue-00")
    assert "queues" in shown[0]
    assert "[q] quit" in shown[-1] + shown[-2]
    for _ in range(39):
        screen.press("down")
    screen.wait("queue-39")
    screen.resize(100, 30)
    screen.wait("queue-39", "[q] quit")


def test_a_queue_is_paused_and_resumed_by_a_key(app: App, open_dash: Open) -> None:
    fill(app, high=1, low=1)
    screen = open_dash()
    screen.wait("low")
    screen.press("down", "p")
    screen.wait("low is paused")
    assert app.inspector().queues.info("low").paused
    assert not app.inspector().queues.info("high").paused
    screen.press("p")
    screen.wait("low goes on")
    assert not app.inspector().queues.info("low").paused


def test_one_drills_down_to_a_task_and_comes_back(app: App, open_dash: Open) -> None:
    fill(app, high=2)
    screen = open_dash()
    screen.wait("high")
    screen.press("enter")
    screen.wait("high-0", "high-1", "pending")
    screen.press("down", "enter")
    screen.wait("payload", '{"n":1}', "0 of 25")
    screen.press("esc")
    screen.wait("high-0", "high-1")
    screen.press("esc")
    screen.wait("QUEUE", "high")


def test_states_are_one_key_away_from_each_other(app: App, open_dash: Open) -> None:
    dead(app, "gone")
    screen = open_dash()
    screen.wait("low")
    screen.press("enter")
    screen.wait("No tasks.")
    screen.press("right", "right", "right", "right")
    screen.wait("gone")


def test_a_dead_task_is_run_again_by_a_key(app: App, open_dash: Open) -> None:
    dead(app, "gone")
    screen = open_dash()
    screen.wait("low")
    screen.press("enter", "left", "left", "left")
    screen.wait("gone")
    assert "[c] cancel" not in screen.line("[r] run")  # What makes no sense is not offered.
    screen.press("r")
    screen.wait("gone is pending")
    assert app.inspector().tasks.get("low", "gone").state == "pending"


def test_deleting_asks_first(app: App, open_dash: Open) -> None:
    fill(app, low=1)
    screen = open_dash()
    screen.wait("low")
    screen.press("enter")
    screen.wait("low-0")
    screen.press("x")
    screen.wait("delete low-0?")
    screen.press("n")
    eventually(lambda: not screen.line("delete low-0?"))
    assert app.inspector().tasks.get("low", "low-0").state == "pending"
    screen.press("x")
    screen.wait("delete low-0?")
    screen.press("y")
    screen.wait("low-0 is deleted", "No tasks.")


def test_workers_and_what_they_run_are_shown_and_cancelled(
    server: RedisServer, open_dash: Open
) -> None:
    app = App("dash", config={"redis": {"addrs": [server.url]}, "queues": {"default": 1}})
    cancelled: list[str] = []

    @app.task("long")
    async def long(ctx: Context) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(ctx.task_id)
            raise

    app.start()
    try:
        app.client.enqueue("long", queue="default", task_id="held", max_retry=0)
        screen = open_dash()
        screen.press("tab")
        screen.wait("WORKER", "held", "long", "1/10", within=15)
        screen.press("c")
        screen.wait("cancel held?")
        screen.press("y")
        eventually(lambda: cancelled == ["held"], 10)
    finally:
        app.stop()
        app.close()


def test_failures_of_all_queues_are_on_one_page(server: RedisServer, open_dash: Open) -> None:
    app = App("dash", config={"redis": {"addrs": [server.url]}, "queues": {"a": 1, "b": 1}})

    @app.task("mail")
    async def mail() -> None:
        raise ValueError("no such address")

    app.start()
    try:
        for queue in ("a", "b"):
            app.client.enqueue("mail", queue=queue, task_id=f"in-{queue}", max_retry=0)
        screen = open_dash()
        screen.press("3")
        screen.wait("in-a", "in-b", "no such address", "archived")
    finally:
        app.stop()
        app.close()


def test_redis_away_is_shown_and_waited_for(app: App, server: RedisServer, open_dash: Open) -> None:
    fill(app, low=1)
    screen = open_dash()
    screen.wait("low")
    server.stop()
    screen.wait("no answer from Redis", within=20)
    server.start()
    fill(app, back=1)
    screen.wait("back", within=20)


def test_the_cursor_stays_on_its_queue_while_redis_is_away(
    app: App, server: RedisServer, open_dash: Open
) -> None:
    fill(app, high=1, low=1)
    screen = open_dash()
    screen.wait("low")
    screen.press("down")
    eventually(lambda: screen.reversed("low"))
    server.pause()
    screen.wait("This is the last that was seen: ", "high", "low", within=20)
    server.resume()
    screen.press("p")
    screen.wait("low is paused", within=20)


def test_an_outage_is_no_peak_of_work(app: App, server: RedisServer, open_dash: Open) -> None:
    for number in range(50):
        app.client.enqueue("mail", queue="low", task_id=f"n{number}")
    worker = App("dash", config={"redis": {"addrs": [server.url]}, "queues": {"low": 1}})

    @worker.task("mail")
    async def mail() -> None: ...

    worker.start()
    eventually(lambda: app.inspector().queues.info("low").processed_total == 50, 10)
    worker.stop()
    worker.close()
    screen = open_dash()
    screen.wait("low")
    server.pause()
    screen.wait("This is the last that was seen: ", within=20)
    server.resume()
    fill(app, back=1)
    screen.wait("back", within=20)
    assert set(screen.lines[2].removeprefix("ended  ")) == {"▁"}


def test_what_is_shown_of_a_task_that_is_gone_is_not_that_of_another(
    app: App, open_dash: Open
) -> None:
    fill(app, low=2)
    screen = open_dash()
    screen.wait("low")
    screen.press("enter", "enter")
    screen.wait("0 of 25")
    app.inspector().tasks.delete("low", "low-1")
    app.inspector().tasks.delete("low", "low-0")
    screen.wait("There is no task")
    assert not screen.line("0 of 25")
    screen.press("1")
    screen.wait("low", "running")


def test_the_states_of_a_queue_are_counted_and_the_chosen_one_is_in_sight(
    app: App, open_dash: Open
) -> None:
    fill(app, low=3)
    dead(app, "gone")
    screen = open_dash(columns=60)
    screen.wait("low")
    screen.press("enter")
    screen.wait("queue low", "pending")
    screen.press("left")
    screen.wait("aggregating", "No tasks.")
    screen.resize(80, 24)
    screen.wait("pending 3  active  scheduled  retry  archived 1  completed  aggregating")


def test_all_keys_are_one_key_away(app: App, open_dash: Open) -> None:
    fill(app, low=1)
    screen = open_dash(columns=60)
    screen.wait("low")
    screen.press("enter")
    screen.wait("[?] help", "[q] quit")  # Whatever else there is no room for.
    screen.press("?")
    screen.wait("cancel the task that runs; asks first", "[any key] close")
    screen.press("x")
    screen.wait("low-0")
    assert not screen.line("delete low-0?")


def test_names_in_letters_of_double_width_stay_in_their_columns(app: App, open_dash: Open) -> None:
    fill(app, plain=2)
    app.client.enqueue("mail", queue="注文処理", task_id="wide")
    app.client.enqueue("mail", queue="q" * 60, task_id="long")
    screen = open_dash()
    screen.wait("plain", "注文処理")
    (title,) = (line for line in screen.lines if "QUEUE" in line)
    for name in ("plain", "qqq", "注文処理"):
        line = screen.line(name)
        assert cell_len(line[: line.index("running")]) == title.index("STATE")


@pytest.mark.parametrize(("end", "home"), [("end", "k"), ("end of tmux", "home of tmux")])
def test_the_ends_of_a_list_are_one_key_away(
    app: App, open_dash: Open, end: str, home: str
) -> None:
    fill(app, **{f"queue-{number:02}": 1 for number in range(40)})
    screen = open_dash()
    screen.wait("queue-00")
    screen.press(end)
    screen.wait("queue-39")
    screen.press(home)
    eventually(lambda: not screen.reversed("queue-3"), 5)


def test_a_terminal_that_cannot_move_its_cursor_is_refused(app: App, open_dash: Open) -> None:
    screen = open_dash(env={"TERM": "dumb"})
    screen.wait("TERM=dumb", "qd stats")
    assert screen.end() == 2


@pytest.mark.parametrize("key", ["q", "ctrl-c"])
def test_the_terminal_is_left_as_it_was(app: App, open_dash: Open, key: str) -> None:
    fill(app, low=1)
    screen = open_dash()
    screen.wait("low")
    screen.press(key)
    assert screen.end() == 0
    assert screen.is_as_before()
    # The alternate screen is left, and the cursor shown.
    assert screen.raw.rstrip().endswith(b"\x1b[?1049l\x1b[?25h") or b"\x1b[?1049l" in screen.raw


def test_who_ends_it_from_elsewhere_leaves_a_terminal_that_works(app: App, open_dash: Open) -> None:
    fill(app, low=1)
    screen = open_dash()
    screen.wait("low")
    os.kill(screen.pid, signal.SIGTERM)
    assert screen.end() == 128 + signal.SIGTERM
    assert screen.is_as_before()
    assert b"\x1b[?1049l" in screen.raw


def test_without_colour_there_is_none_but_a_cursor(app: App, open_dash: Open) -> None:
    fill(app, low=1)
    screen = open_dash(env={"NO_COLOR": "1"})
    screen.wait("low")
    assert b"\x1b[3" not in screen.raw
    assert screen.reversed("low")


def test_payloads_that_hold_control_characters_cannot_move_the_cursor(
    app: App, open_dash: Open
) -> None:
    app.client.enqueue("mail", b"evil\x1b[2J", queue="low")
    screen = open_dash()
    screen.wait("low")
    screen.press("enter")
    screen.wait("evil\\x1b[2J")
