"""The kit in coroutines: handlers share the loop of the test."""

from __future__ import annotations

import asyncio
import threading

import pytest

from qd import App, QdError
from qd.testing import Kit


async def test_handlers_run_on_the_loop_of_the_test(app: App, kit: Kit) -> None:
    loops: list[asyncio.AbstractEventLoop] = []
    threads: list[int] = []

    @app.task("async")
    async def on_the_loop() -> None:
        loops.append(asyncio.get_running_loop())
        await in_a_thread.aenqueue()

    @app.task("sync")
    def in_a_thread() -> None:
        threads.append(threading.get_ident())

    ran = await kit.arun(on_the_loop)
    assert ran.ok
    kit.assert_enqueued(in_a_thread)
    assert (await kit.adrain()).types == ["sync"]
    assert loops == [asyncio.get_running_loop()]
    assert threads != [threading.get_ident()]


async def test_time_passes(app: App, kit: Kit) -> None:
    @app.task("later", process_in="5m")
    async def later() -> None: ...

    await later.aenqueue()
    assert await kit.adrain() == []
    assert (await kit.aadvance("5m")).types == ["later"]


async def test_errors_fly_or_are_reported(app: App, kit: Kit) -> None:
    @app.task("fail", max_retry=0)
    async def fail() -> None:
        raise ValueError("so it is")

    with pytest.raises(ValueError, match="so it is"):
        await kit.arun(fail)
    assert (await kit.aattempt(fail)).outcome == "archive"


async def test_a_crash(app: App, kit: Kit) -> None:
    @app.task("a")
    async def handler() -> None: ...

    crash = await kit.acrash(handler, after="handler.before")
    assert crash.state == "pending"
    assert (await kit.adrain()).types == ["a"]


async def test_the_forms_for_other_tests_say_what_to_use(app: App, kit: Kit) -> None:
    @app.task("a")
    async def handler() -> None: ...

    for name, call in (
        ("run", lambda: kit.run(handler)),
        ("attempt", lambda: kit.attempt(handler)),
        ("drain", kit.drain),
        ("advance", lambda: kit.advance("1s")),
        ("crash", lambda: kit.crash(handler, after="handler.before")),
    ):
        with pytest.raises(QdError) as refused:
            call()
        assert refused.value.hint == f"Use `await kit.a{name}(...)` there."


def test_in_a_plain_test_asynchronous_handlers_have_one_loop(app: App, kit: Kit) -> None:
    loops = []

    @app.task("a")
    async def handler() -> None:
        loops.append(asyncio.get_running_loop())

    kit.run(handler)
    kit.run(handler)
    assert loops[0] is loops[1]
