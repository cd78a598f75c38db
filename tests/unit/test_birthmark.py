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
    return process.stdout.readline().strip().replace(" | ", "\n")


def start(*prefix: str) -> subprocess.Popen[str]:
    """A process that tells its birthmark and lives until its input ends."""
    code = (
        "import os; from qd import birthmark as b\n"
        "print(b.of(os.getpid()).replace('\\n', ' | '), flush=True); input()"
    )
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
        assert not birthmark.all_dead(mark)
        process.kill()
        eventually(lambda: state_of(process.pid) == "Z")
        assert birthmark.all_dead(mark)
        process.wait()
        assert birthmark.all_dead(mark)


def test_all_of_them_must_be_dead() -> None:
    with start() as process:
        mark_of(process)
        both = birthmark.of(process.pid, os.getpid())
        process.kill()
        process.wait()
        assert not birthmark.all_dead(both)
        assert birthmark.all_dead(both[: both.rindex("\n")])


def test_another_process_with_the_same_number_is_not_the_same() -> None:
    mark, _, started = birthmark.of(os.getpid()).rpartition(":")
    assert birthmark.all_dead(f"{mark}:{int(started) - 1}")


@pytest.mark.parametrize("wrong", ["boot", "space", "nothing", "nobody"])
def test_of_another_kernel_or_container_nothing_is_known(wrong: str) -> None:
    with start() as process:
        mark = mark_of(process)
        process.kill()
        process.wait()
    home, _, _ = mark.partition("\n")
    boot, *spaces = home.split()
    changed = {
        "boot": mark.replace(boot, "another"),
        "space": mark.replace(spaces[0], "pid:[1]"),
        "nothing": "",
        "nobody": home,
    }
    assert birthmark.all_dead(mark)
    assert not birthmark.all_dead(changed[wrong])


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces of processes need root")
def test_a_container_s_processes_are_nobody_s_but_its_own() -> None:
    """Its process 1 is another than ours, and so is every number it speaks of."""
    with start("unshare", "--pid", "--fork", "--mount-proc") as process:
        mark = mark_of(process)
        assert mark
        assert mark.split()[0] == birthmark.of(os.getpid()).split()[0], "the boot is the same"
        process.kill()
        process.wait()
        assert not birthmark.all_dead(mark)


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces of processes need root")
def test_without_a_proc_of_its_own_a_container_has_no_birthmark() -> None:
    with start("unshare", "--pid", "--fork") as process:
        assert mark_of(process) == ""
        process.kill()
