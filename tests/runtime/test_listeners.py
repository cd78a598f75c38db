"""Which of the processes of a host looks first; nobody waits for one that does not look."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from qd.app.workers import start_worker
from qd.protocol import keys
from qd.runtime.listeners import Listener, Listeners
from tests.runtime.lab import QUEUE, Lab
from tests.support.wait import aeventually

SLOTS = 10


@contextmanager
def another(listeners: Listeners, *, free: int) -> Iterator[int]:
    """A process that has taken a place and says how many slots it has free; gives its pid."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            listener = listeners.join()
            assert listener is not None
            listener.note(free, SLOTS)
            os.write(write, b"!")
            signal.pause()
        finally:
            os._exit(1)
    os.close(write)
    try:
        assert os.read(read, 1) == b"!"
        yield pid
    finally:
        os.close(read)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def joined(listeners: Listeners) -> Listener:
    listener = listeners.join()
    assert listener is not None
    return listener


@pytest.mark.parametrize(
    ("others_free", "free", "first"),
    [
        (SLOTS, SLOTS, False),  # the lower number comes first
        (SLOTS, 3, False),
        (3, SLOTS, True),  # who runs nothing comes before who runs something
        (3, 3, False),
        (0, 3, True),
        (0, SLOTS, True),
        (SLOTS, 0, True),  # it will not ask, and has nothing to look for later
    ],
)
def test_one_process_is_first(others_free: int, free: int, first: bool) -> None:
    listeners = Listeners()
    with another(listeners, free=others_free):
        mine = joined(listeners)
        mine.note(free, SLOTS)
        assert mine.is_first is first


def test_who_has_the_lower_number_waits_for_one_that_runs_nothing() -> None:
    listeners = Listeners()
    mine = joined(listeners)
    mine.note(3, SLOTS)
    with another(listeners, free=SLOTS):
        assert not mine.is_first
        mine.note(SLOTS, SLOTS)
        assert mine.is_first


def test_the_place_of_a_process_that_was_killed_is_free() -> None:
    listeners = Listeners()
    with another(listeners, free=SLOTS):
        pass
    mine = joined(listeners)
    mine.note(3, SLOTS)
    assert mine.is_first


async def start(lab: Lab, listeners: Listeners) -> Listener:
    mine = joined(listeners)
    lab.running = await start_worker(lab.app, lab.app.connection.endpoint, listener=mine)
    await aeventually(lambda: lab.worker.drained)
    return mine


async def test_a_task_that_the_first_does_not_take_is_taken(lab: Lab) -> None:
    @lab.app.task("work")
    async def work() -> None:
        pass

    listeners = Listeners()
    with another(listeners, free=SLOTS):
        mine = await start(lab, listeners)
        for _ in range(3):
            # Each time it is the other's turn, which never comes.
            assert await aeventually(lambda: not mine.is_first)
            assert (await lab.run("work"))[1] == ""


async def test_who_is_not_first_asks_for_no_task_that_another_has_taken(lab: Lab) -> None:
    listeners = Listeners()
    with another(listeners, free=SLOTS):
        mine = await start(lab, listeners)
        assert await aeventually(lambda: not mine.is_first)
        fetches = _calls(lab, "lrange")
        for _ in range(3):
            looks = _calls(lab, "llen")
            # It comes and is gone in one step, as if the other had been quicker.
            with lab.raw.pipeline() as step:
                step.lpush(keys.pending(QUEUE), "taken").rpop(keys.pending(QUEUE)).execute()
            assert await aeventually(partial(_looked, lab, looks))
        assert lab.worker.drained
        assert _calls(lab, "lrange") == fetches


async def test_with_no_slot_free_and_when_it_has_stopped_a_process_is_in_nobodys_way(
    lab: Lab,
) -> None:
    listeners = Listeners()
    mine = await start(lab, listeners)
    memory, number = mine._memory, mine._number
    assert await aeventually(lambda: memory[number] == 2)
    lab.worker.quiet(True)
    assert await aeventually(lambda: memory[number] == 0)
    lab.worker.quiet(False)
    assert await aeventually(lambda: memory[number] == 2)
    await lab.stop()
    assert memory[number] == 0


def _looked(lab: Lab, before: int) -> bool:
    return _calls(lab, "llen") > before


def _calls(lab: Lab, command: str) -> int:
    return int(lab.raw.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])
