"""Fail points act once, where they are told to, and nowhere else."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qd import failpoint
from qd.errors import ConfigError
from tests.support.procs import running

CODE = Path(failpoint.__file__).parent


@pytest.fixture
def arm() -> Iterator[Callable[[str], str]]:
    yield lambda text: failpoint.arm({"QD_FAILPOINT": text})
    failpoint.arm({})


def test_every_point_stands_in_the_code_once_and_no_other_does() -> None:
    places = Counter(
        name
        for file in CODE.rglob("*.py")
        for name in re.findall(r'failpoint\.hit\("(.+)"\)', file.read_text())
    )
    assert places == dict.fromkeys(failpoint.POINTS, 1)


def test_unless_it_is_armed_a_point_does_nothing() -> None:
    assert failpoint.arm({}) == ""
    for name in failpoint.POINTS:
        failpoint.hit(name)


def test_a_point_acts_at_the_visit_it_was_told_to_and_only_then(arm: Callable[[str], str]) -> None:
    assert arm("ending.after:exc:3") == "ending.after:exc:3"
    for _ in range(5):
        failpoint.hit("ending.before")
    for _ in range(2):
        failpoint.hit("ending.after")
    with pytest.raises(RuntimeError):
        failpoint.hit("ending.after")
    for _ in range(5):
        failpoint.hit("ending.after")


FAMILY = """
import os
from qd import failpoint
failpoint.arm({"QD_FAILPOINT": "handler.before:exit:5"})
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        for _ in range(2):
            failpoint.hit("handler.before")
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.process
def test_of_all_processes_that_were_forked_one_acts() -> None:
    with running(sys.executable, "-c", FAMILY) as family:
        assert family.wait() == 0
    assert family.out.all() == ["0", "0", "1", "0"]
    assert family.err.all() == ["fail point handler.before: exit"]


def test_what_is_wrong_is_told_all_at_once(arm: Callable[[str], str]) -> None:
    with pytest.raises(ConfigError) as caught:
        arm("dequeue.befor:burn:0")
    assert caught.value.problems == [
        'QD_FAILPOINT: no fail point "dequeue.befor". Did you mean "dequeue.before"?',
        'QD_FAILPOINT: no action "burn"; write one of: kill, stop, exc, exit, delay',
        'QD_FAILPOINT: "0" is no count from 1 to 4096',
    ]
    # What was armed before is not armed any more.
    failpoint.hit("dequeue.before")


@pytest.mark.parametrize("text", ["dequeue.before", "dequeue.before:", ":kill", "a:kill:1:2"])
def test_a_part_that_is_missing_is_a_mistake(text: str, arm: Callable[[str], str]) -> None:
    with pytest.raises(ConfigError):
        arm(text)
