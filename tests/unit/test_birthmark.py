"""Birthmarks: certain death is told from life, and from what nobody can know."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from qd import birthmark
from tests.support.procs import state_of
from tests.support.wait import eventually


def mark_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def start(*prefix: str) -> subprocess.Popen[str]:
    """A process that tells its birthmark and lives until its input ends."""
    code = "from qd import birthmark as b; print(b.of_this_process(), flush=True); input()"
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_the_living_the_dead_and_those_not_buried_yet_are_told_apart() -> None:
    with start() as process:
        mark = mark_of(process)
        assert mark
        assert not birthmark.is_dead(process.pid, mark)
        process.kill()
        eventually(lambda: state_of(process.pid) == "Z")
        assert birthmark.is_dead(process.pid, mark)
        process.wait()
        assert birthmark.is_dead(process.pid, mark)


def test_another_process_with_the_same_number_is_not_the_same() -> None:
    home, _, started = birthmark.of_this_process().rpartition(" ")
    assert birthmark.is_dead(os.getpid(), f"{home} {int(started) - 1}")


@pytest.mark.parametrize(
    "elsewhere",
    [
        "",
        "another-boot pid:[4026531836] time:[4026531834] 5",
        "{boot} pid:[1] time:[4026531834] 5",
    ],
)
def test_of_another_kernel_or_container_nothing_is_known(elsewhere: str) -> None:
    boot = birthmark.of_this_process().partition(" ")[0]
    with start() as process:
        mark_of(process)
        process.kill()
        process.wait()
        assert not birthmark.is_dead(process.pid, elsewhere.format(boot=boot))


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces of processes need root")
def test_a_container_s_processes_are_nobody_s_but_its_own() -> None:
    """Its process 1 is another than ours, and so is every number it speaks of."""
    with start("unshare", "--pid", "--fork", "--mount-proc") as process:
        mark = mark_of(process)
        assert mark
        assert mark.partition(" ")[0] == birthmark.of_this_process().partition(" ")[0]
        process.kill()
        process.wait()
        assert not birthmark.is_dead(2**22 + 1, mark)


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces of processes need root")
def test_without_a_proc_of_its_own_a_container_has_no_birthmark() -> None:
    with start("unshare", "--pid", "--fork") as process:
        assert mark_of(process) == ""
        process.kill()
