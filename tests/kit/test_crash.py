"""`kit.crash`: a real process dies at a point, and the store says what it left."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from qd import App, Context, QdError
from qd.app.handle import TaskHandle
from qd.testing import Kit, KitError
from qd.testing.crash import POINTS
from tests.support.wait import eventually

Pay = TaskHandle[..., Any]


class Bank:
    """Side effects outside of Redis, one line each."""

    def __init__(self, book: Path) -> None:
        self.book = book

    def charge(self, order: int) -> str:
        with self.book.open("a") as book:
            book.write(f"{order}\n")
        return f"receipt {order}"

    @property
    def charges(self) -> list[str]:
        return self.book.read_text().splitlines() if self.book.exists() else []


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path / "book")


@pytest.fixture
def pay(app: App, bank: Bank) -> Pay:
    @app.task("order:pay", max_retry=3)
    async def handler(order: int, ctx: Context) -> str:
        return str(await ctx.once(f"pay:{order}", lambda: bank.charge(order)))

    return handler


# Where the note of an effect is lost, nobody can know of it.
TWICE = {"once.done"}
ENDED = {"ending.after", "stop.drained"}


@pytest.mark.parametrize("point", POINTS)
def test_at_each_point_the_task_is_done_in_the_end(
    kit: Kit, pay: Pay, bank: Bank, point: str
) -> None:
    crash = kit.crash(pay, order=7, after=point)
    assert crash.point == point
    assert crash.ending.startswith("killed by signal 9 (SIGKILL)")
    if point in ENDED:
        assert (crash.task, crash.state) == (None, "")
    else:
        assert crash.task is not None
        assert (crash.state, crash.task.retried, crash.task.deaths) == ("pending", 0, 0)
    runs = kit.drain()
    assert [one.outcome for one in runs] == ([] if point in ENDED else ["done"])
    assert bank.charges == ["7"] * (2 if point in TWICE else 1)
    assert kit.tasks() == []


def test_it_dies_when_a_function_has_returned(kit: Kit, pay: Pay, bank: Bank) -> None:
    crash = kit.crash(pay, order=7, after=bank.charge)
    assert crash.point == "return of Bank.charge"
    assert bank.charges == ["7"]
    assert crash.state == "pending"
    kit.drain()
    assert bank.charges == ["7", "7"]


def test_a_thread_that_hangs_elsewhere_is_no_obstacle(kit: Kit, pay: Pay, bank: Bank) -> None:
    # As a handler out of time leaves it behind: an exception waits for it, until it returns from C.
    hung, go = threading.Event(), threading.Event()

    def hang() -> None:
        with contextlib.suppress(TimeoutError):
            hung.set()
            go.wait()

    thread = threading.Thread(target=hang)
    thread.start()
    hung.wait()
    pending = ctypes.pythonapi.PyThreadState_SetAsyncExc
    pending(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(TimeoutError))
    try:
        assert kit.crash(pay, order=7, after=bank.charge).state == "pending"
    finally:
        go.set()
        thread.join()


def test_a_coroutine_returns_once_however_often_it_waits(app: App, kit: Kit, bank: Bank) -> None:
    async def charge_slowly(order: int) -> None:
        import asyncio

        for _ in range(3):
            await asyncio.sleep(0)
        bank.charge(order)
        await asyncio.sleep(0)
        bank.charge(order)

    @app.task("a")
    async def handler() -> None:
        await charge_slowly(1)
        bank.charge(2)

    kit.crash(handler, after=charge_slowly)
    assert bank.charges == ["1", "1"]


def test_an_exception_is_no_return(app: App, kit: Kit, bank: Bank) -> None:
    def refuse() -> None:
        raise ConnectionError

    @app.task("a", max_retry=1)
    def handler() -> None:
        refuse()

    with pytest.raises(
        KitError, match=r"never came by the return of .*refuse: a .*ConnectionError"
    ):
        kit.crash(handler, after=refuse)


def test_in_a_synchronous_handler_it_is_the_same(app: App, kit: Kit, bank: Bank) -> None:
    @app.task("a")
    def handler(ctx: Context) -> None:
        bank.charge(1)
        ctx.once_now("mail", lambda: bank.charge(2))

    kit.crash(handler, after=bank.charge)
    kit.crash(handler, after="once.noted")
    assert bank.charges == ["1", "1", "2"]
    kit.drain()
    assert bank.charges == ["1", "1", "2", "1", "1"]


def test_what_never_comes_by_there_has_run_all_the_same(kit: Kit, app: App) -> None:
    @app.task("a")
    def handler() -> None: ...

    with pytest.raises(
        KitError, match=r"a never came by the point 'once.done': a .* attempt 1: done"
    ):
        kit.crash(handler, after="once.done")
    assert kit.tasks() == []


def test_a_worker_that_does_not_start_is_told(kit: Kit, app: App) -> None:
    @app.task("a")
    def handler() -> None: ...

    @app.on_startup
    def refuse() -> None:
        raise RuntimeError("no licence")

    with pytest.raises(KitError, match="no licence"):
        kit.crash(handler, after="handler.before")


@pytest.mark.parametrize(
    ("point", "why"),
    [
        ("once.don", 'Did you mean "once.done"?'),
        ("cron_tick.before", "passes no point 'cron_tick.before'"),
        (print, "no function written in Python"),
        (partial(print), "no function written in Python"),
    ],
)
def test_a_point_that_is_none_is_refused_before_anything_is_stored(
    kit: Kit, pay: Pay, point: Any, why: str
) -> None:
    with pytest.raises(QdError) as refused:
        kit.crash(pay, order=7, after=point)
    assert why in str(refused.value)
    if isinstance(point, str):
        assert "handler.before  a task is noted as running" in refused.value.hint
    assert kit.tasks() == []


def test_what_kills_one_process_after_the_other_is_poison(kit: Kit, pay: Pay) -> None:
    """As in production: three kills within a minute, of processes that ran nothing else."""
    crash = kit.crash(pay, order=7, after="handler.before")
    for _ in range(5):
        if crash.state != "pending":
            break
        assert crash.task is not None
        crash = kit.crash(crash.task, after="handler.before")
    assert crash.state == "archived"
    assert "killed by signal 9" in kit.dead[0].error


def test_other_tasks_are_left_where_they_were(kit: Kit, pay: Pay) -> None:
    pay.enqueue(1)
    kit.crash(pay, order=2, after="dequeue.after")
    assert [one.payload["order"] for one in kit.tasks(state="pending")] == [2, 1]


def test_it_dies_with_the_test_that_waits_for_it(
    app: App, kit: Kit, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    pid_file = tmp_path / "pid"

    @app.task("hang")
    async def hang() -> None:
        import asyncio

        pid_file.write_text(str(os.getpid()))
        await asyncio.sleep(3600)

    main = threading.get_ident()

    def interrupt() -> None:
        eventually(lambda: pid_file.exists() and pid_file.read_text() != "")
        signal.pthread_kill(main, signal.SIGINT)

    teller = threading.Thread(target=interrupt)
    teller.start()
    with pytest.raises(KeyboardInterrupt):
        kit.crash(hang, after="handler.after")
    teller.join()
    pid = int(pid_file.read_text())
    eventually(lambda: not Path(f"/proc/{pid}").exists())


def test_ctrl_c_reaches_the_test_whatever_runs(app: App, kit: Kit) -> None:
    main = threading.get_ident()
    started = threading.Event()

    @app.task("sync", max_retry=1)
    def in_the_thread() -> None:
        started.set()
        while True:
            sys.stdout.write("")

    @app.task("async", max_retry=1)
    async def on_the_loop() -> None:
        import asyncio

        started.set()
        await asyncio.sleep(3600)

    for task in (in_the_thread, on_the_loop):
        started.clear()

        def interrupt() -> None:
            started.wait()
            signal.pthread_kill(main, signal.SIGINT)

        teller = threading.Thread(target=interrupt)
        teller.start()
        with pytest.raises(KeyboardInterrupt):
            kit.run(task)
        teller.join()


def test_what_a_handler_has_started_dies_with_it(app: App, kit: Kit, tmp_path: Path) -> None:
    @app.task("fork")
    def fork() -> None:
        pid = os.fork()
        if not pid:
            threading.Event().wait()
        (tmp_path / "pid").write_text(str(pid))

    crash = kit.crash(fork, after="handler.after")
    assert crash.state == "pending"
    pid = int((tmp_path / "pid").read_text())
    eventually(lambda: not Path(f"/proc/{pid}").exists() or is_zombie(pid))


def is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
