"""The supervisor with real forks and real signals. Its children are in `supervised.py`."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from qd.errors import ExitCode
from tests.support.procs import (
    Proc,
    children_of,
    cpu_seconds_of,
    open_files_of,
    running,
    state_of,
    wait_until_gone,
)
from tests.support.wait import eventually

pytestmark = pytest.mark.process

PROGRAM = str(Path(__file__).with_name("supervised.py"))
NO_DELAY = {"short_life": 0.0}

Start = Callable[..., Proc]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the supervised program with these options, behind the words of `prefix`."""
    with ExitStack() as stack:

        def start(
            *, prefix: tuple[str, ...] = (), env: dict[str, str] | None = None, **options: Any
        ) -> Proc:
            command = (*prefix, sys.executable, PROGRAM, json.dumps(options))
            return stack.enter_context(running(*command, env=env))

        yield start


def pid_of(match: re.Match[str]) -> int:
    return int(match[1])


def wait_ready(proc: Proc, role: str = "worker", version: str = "v1") -> int:
    """The pid of the next child that says it is ready."""
    return pid_of(proc.out.wait(rf"^ready {version} (\d+) {role}$"))


def wait_complete(proc: Proc) -> None:
    proc.err.wait(r"all \d+ children are ready")


def wait_lines(proc: Proc, pattern: str, count: int) -> list[str]:
    """Those lines of the children, once there are `count`: their stream may lag behind others."""
    eventually(lambda: len(proc.out.all(pattern)) >= count)
    return proc.out.all(pattern)


def stop(proc: Proc) -> None:
    proc.signal(signal.SIGTERM)
    assert proc.wait() == 0


# Deaths


def test_killed_worker_is_replaced(start: Start) -> None:
    proc = start(workers=1)
    first = wait_ready(proc)
    os.kill(first, signal.SIGKILL)
    assert wait_ready(proc) != first
    stop(proc)


def test_scheduler_hears_which_worker_died_and_why(start: Start) -> None:
    proc = start(workers=1, scheduler="obedient")
    worker = wait_ready(proc)
    wait_complete(proc)
    os.kill(worker, signal.SIGKILL)
    line = proc.out.wait(r"^inbox v1 (\d+) (orphan.*)$")
    cause = r"killed by signal 9 \(SIGKILL\), peak memory \d+ MiB"
    assert re.fullmatch(rf"orphan\tid-{worker}\tkilled\t{cause}", line[2])
    assert f" {line[1]} " in proc.out.all("^ready v1 .* scheduler")[0]
    stop(proc)


def test_without_a_scheduler_a_surviving_worker_hears_of_a_death(start: Start) -> None:
    proc = start(workers=2)
    first, second = wait_ready(proc), wait_ready(proc)
    wait_complete(proc)
    os.kill(first, signal.SIGKILL)
    assert pid_of(proc.out.wait(rf"^inbox v1 (\d+) orphan\tid-{first}\t")) == second
    stop(proc)


def test_news_of_a_death_wait_until_some_child_is_ready(start: Start) -> None:
    proc = start(workers=1)
    only = wait_ready(proc)
    wait_complete(proc)
    os.kill(only, signal.SIGKILL)
    assert pid_of(proc.out.wait(rf"^inbox v1 (\d+) orphan\tid-{only}\t")) != only
    stop(proc)


def test_news_told_to_a_child_that_dies_is_told_again(start: Start) -> None:
    proc = start(workers=1, scheduler="obedient", limits=NO_DELAY)
    worker = wait_ready(proc)
    wait_complete(proc)
    (scheduler,) = set(children_of(proc.pid)) - {worker}
    os.kill(scheduler, signal.SIGSTOP)  # it is told, and never gets to act on it
    os.kill(worker, signal.SIGKILL)
    wait_complete(proc)
    os.kill(scheduler, signal.SIGKILL)
    reader = pid_of(proc.out.wait(rf"^inbox v1 (\d+) orphan\tid-{worker}\t"))
    assert reader != scheduler
    stop(proc)


def test_exit_code_zero_without_notice_counts_as_a_crash(start: Start) -> None:
    proc = start(workers=1, scheduler="obedient")
    worker = wait_ready(proc)
    wait_complete(proc)
    os.kill(worker, signal.SIGVTALRM)
    proc.out.wait(rf"orphan\tid-{worker}\tcrashed\texit code 0, peak memory \d+ MiB$")
    wait_ready(proc)
    stop(proc)


def test_orderly_end_of_a_worker_leaves_no_orphan(start: Start) -> None:
    proc = start(workers=1, scheduler="obedient", limits=NO_DELAY)
    worker = wait_ready(proc)
    wait_complete(proc)
    os.kill(worker, signal.SIGTERM)
    wait_ready(proc)
    stop(proc)
    assert not proc.out.all("orphan")


def test_what_a_killed_worker_had_started_is_killed_too(start: Start) -> None:
    proc = start(workers=1)
    worker = wait_ready(proc)
    os.kill(worker, signal.SIGWINCH)
    helper = int(proc.out.wait(r"^helper v1 \d+ (\d+)$")[1])
    os.kill(worker, signal.SIGKILL)
    wait_until_gone(helper)
    stop(proc)


def test_parent_keeps_no_descriptor_and_no_zombie_of_100_dead_children(start: Start) -> None:
    proc = start(workers=1, limits=NO_DELAY)
    worker = wait_ready(proc)
    wait_complete(proc)
    before = open_files_of(proc.pid)
    for _ in range(100):
        os.kill(worker, signal.SIGKILL)
        worker = wait_ready(proc)
        # Its first order is the news of the death before, so it is known to be ready.
        proc.out.wait(rf"^inbox v1 {worker} orphan")
    assert open_files_of(proc.pid) == before
    assert children_of(proc.pid) == [worker]
    stop(proc)


def test_children_notice_a_dead_parent_without_its_signal(start: Start) -> None:
    """TERM, which the kernel sends then, is ignored by these; the lifeline is what ends them."""
    proc = start(workers=2, worker="stubborn", scheduler="stubborn")
    wait_complete(proc)
    children = children_of(proc.pid)
    proc.signal(signal.SIGKILL)
    for _ in children:
        proc.out.wait("^parent-gone")
    for child in children:
        wait_until_gone(child)


def test_children_are_killed_before_the_parent_when_memory_runs_out(start: Start) -> None:
    proc = start(workers=1)
    worker = wait_ready(proc)

    def score(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    assert score(worker) == min(1000, score(proc.pid) + 500)
    stop(proc)


# Starting


def test_crash_loop_ends_with_its_exit_code(start: Start) -> None:
    proc = start(workers=2, worker="broken", scheduler="obedient")
    assert proc.wait() == ExitCode.CRASH_LOOP
    assert len(proc.out.all("^booting .* worker$")) == 10
    assert "RuntimeError: broken on purpose" in proc.err.text()


def test_child_that_can_never_start_ends_everything_at_once(start: Start) -> None:
    proc = start(workers=2, worker="refusing", scheduler="obedient")
    assert proc.wait() == 2
    assert len(proc.out.all("^booting .* worker$")) <= 2
    assert proc.err.all("ERROR .*cannot start: there is no module")


def test_what_a_child_said_just_before_its_end_is_heard(start: Start) -> None:
    proc = start(workers=1, worker="slow")
    child = pid_of(proc.out.wait(r"^booting v1 (\d+)"))
    # So that the parent finds the words and the death at the same time.
    proc.signal(signal.SIGSTOP)
    os.kill(child, signal.SIGIO)
    eventually(lambda: state_of(child) == "Z")
    proc.signal(signal.SIGCONT)
    assert proc.wait() == 2
    assert proc.err.all("ERROR .*cannot start: there is no module")


def test_child_that_is_not_ready_in_time_is_replaced(start: Start) -> None:
    proc = start(workers=1, worker="slow", limits={"boot": 0.2})
    first = pid_of(proc.out.wait(r"^booting v1 (\d+)"))
    proc.err.wait(rf"pid {first}\): abort, not ready after 0.2 s")
    assert pid_of(proc.out.wait(r"^booting v1 (\d+)")) != first


def test_exhausted_system_is_waited_for(start: Start) -> None:
    proc = start(workers=1, open_files=9)
    proc.err.wait("worker 0 cannot be started now: .*Too many open files")
    resource.prlimit(proc.pid, resource.RLIMIT_NOFILE, (256, 256))
    wait_ready(proc)
    stop(proc)


def test_signal_that_came_before_the_start_is_obeyed(start: Start) -> None:
    proc = start(workers=1, pending="SIGTERM")
    assert proc.wait() == 0
    assert not children_of(proc.pid)


def test_signals_that_were_ignored_and_blocked_by_the_caller_work(start: Start) -> None:
    prefix = ("env", "--ignore-signal=CHLD,PIPE", "--block-signal=TERM,CHLD,HUP")
    proc = start(prefix=prefix, workers=1, limits=NO_DELAY)
    os.kill(wait_ready(proc), signal.SIGKILL)
    wait_ready(proc)
    stop(proc)


# Stopping


def test_term_lets_children_end_and_exits_0(start: Start) -> None:
    proc = start(workers=2, scheduler="obedient")
    scheduler = wait_ready(proc, "scheduler")
    wait_complete(proc)
    children = children_of(proc.pid)
    stop(proc)
    got = proc.out.all("got .* SIGTERM")
    assert len(got) == 3
    assert f" {scheduler} " in got[-1], "the scheduler goes last"
    assert all(state_of(pid) == "" for pid in children)


def test_term_while_children_boot_stops_at_once(start: Start) -> None:
    proc = start(workers=2, worker="slow")
    proc.out.wait("^booting")
    proc.signal(signal.SIGTERM)
    assert proc.wait(within=2) == 0


def test_child_that_does_not_end_in_time_is_killed_and_its_tasks_are_handed_back(
    start: Start,
) -> None:
    limits = {"kill_margin": 0.2}
    proc = start(
        workers=1, worker="stubborn", scheduler="obedient", shutdown_timeout=0.1, limits=limits
    )
    worker = wait_ready(proc)
    wait_complete(proc)
    proc.signal(signal.SIGTERM)
    assert proc.wait() == 0
    assert proc.out.all(rf"inbox .* orphan\tid-{worker}\tcrashed\tkilled by signal 9")


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_to_stop_does_not_wait(start: Start, first: signal.Signals) -> None:
    proc = start(workers=1, worker="stubborn", shutdown_timeout=60, limits={"quit_grace": 0.1})
    wait_ready(proc)
    wait_complete(proc)
    proc.signal(first)
    proc.out.wait("^got .* SIGTERM")
    proc.signal(signal.SIGTERM)
    proc.out.wait("^got .* SIGQUIT")
    assert proc.wait() == 0
    assert proc.err.all("kill, still alive 0.1 s after QUIT")


def test_quit_stops_now(start: Start) -> None:
    proc = start(workers=1, scheduler="obedient", shutdown_timeout=60)
    wait_complete(proc)
    proc.signal(signal.SIGQUIT)
    assert proc.wait() == 0
    assert len(proc.out.all("got .* SIGQUIT")) == 2
    assert not proc.out.all("got .* SIGTERM")


def test_ctrl_c_reaches_the_children_only_as_term(start: Start) -> None:
    """A terminal sends INT to the whole process group of the command."""
    proc = start(workers=2)
    wait_complete(proc)
    os.killpg(proc.pid, signal.SIGINT)
    assert proc.wait() == 0
    assert len(proc.out.all("got .* SIGTERM")) == 2


def test_workers_that_are_done_end_the_program(start: Start) -> None:
    proc = start(workers=2, scheduler="obedient")
    wait_complete(proc)
    for line in wait_lines(proc, "^ready .* worker", 2):
        os.kill(int(line.split()[2]), signal.SIGXCPU)
    assert proc.wait() == 0
    assert len(proc.out.all("booting .* worker")) == 2


# Hung children


def test_silent_child_is_aborted_with_its_stacks_and_replaced(start: Start) -> None:
    proc = start(workers=1, worker="silent", watchdog=0.3)
    first = wait_ready(proc)
    proc.err.wait(rf"pid {first}\): abort, no sign of life for 0.3 s")
    proc.err.wait("in live")
    proc.err.wait(rf"pid {first}\) ended: killed by signal 6 \(SIGABRT\)")
    assert wait_ready(proc) != first


def test_silent_child_that_survives_abrt_is_killed(start: Start) -> None:
    proc = start(workers=1, worker="deaf", watchdog=0.3, limits={"abort_grace": 0.2})
    first = wait_ready(proc)
    proc.err.wait(rf"pid {first}\): kill, still alive 0.2 s after ABRT")
    assert wait_ready(proc) != first


def test_worker_that_leaves_tasks_waiting_prints_its_stacks_and_is_replaced(start: Start) -> None:
    proc = start(workers=1, worker="stalled", limits={"stall": 0.3})
    first = wait_ready(proc)
    proc.err.wait(r"replace, took no task for 0.3 s while some waited")
    proc.err.wait("in live")
    wait_ready(proc)
    proc.out.wait(rf"^got v1 {first} SIGTERM")


def test_children_are_not_blamed_while_the_parent_was_stopped_as_well(start: Start) -> None:
    proc = start(workers=1, watchdog=1.0)
    worker = wait_ready(proc)
    wait_complete(proc)
    proc.signal(signal.SIGSTOP)
    os.kill(worker, signal.SIGSTOP)
    time.sleep(2.5)  # the watchdog's second, and more than a second of being late
    proc.signal(signal.SIGCONT)
    proc.err.wait("the supervisor itself did not run")
    os.kill(worker, signal.SIGCONT)
    os.kill(worker, signal.SIGUSR1)
    proc.out.wait(rf"^got v1 {worker} SIGUSR1")
    stop(proc)
    assert not proc.err.all("abort")


def test_child_that_closed_all_its_descriptors_does_not_make_the_parent_spin(start: Start) -> None:
    proc = start(workers=1, worker="closing", watchdog=0.5)
    first = wait_ready(proc)
    proc.err.wait(rf"pid {first}\): abort, no sign of life", within=5)
    assert cpu_seconds_of(proc.pid) < 0.3
    wait_ready(proc)


# Replacing


def assert_rolled_one_by_one(proc: Proc, children: int) -> None:
    lines = wait_lines(proc, "^ready v2|^got v1 .* SIGTERM", 2 * children)
    assert [line.split()[0] for line in lines] == ["ready", "got"] * children


def test_reload_replaces_one_by_one_new_before_old(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    proc = start(workers=2, scheduler="obedient", reload=str(config))
    wait_complete(proc)
    config.write_text(json.dumps({"version": "v2", "workers": 2, "scheduler": "obedient"}))
    proc.signal(signal.SIGHUP)
    wait_complete(proc)
    assert_rolled_one_by_one(proc, 3)
    stop(proc)


def test_reload_can_change_the_number_of_workers_and_drop_the_scheduler(
    start: Start, tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    proc = start(workers=1, scheduler="obedient", reload=str(config))
    wait_complete(proc)
    config.write_text(json.dumps({"version": "v2", "workers": 3}))
    proc.signal(signal.SIGHUP)
    wait_complete(proc)
    assert len(children_of(proc.pid)) == 3
    stop(proc)


@pytest.mark.parametrize("content", ["{ not json", ""])
def test_bad_reload_changes_nothing(start: Start, tmp_path: Path, content: str) -> None:
    config = tmp_path / "config.json"
    proc = start(workers=1, reload=str(config))
    worker = wait_ready(proc)
    config.write_text(content)
    proc.signal(signal.SIGHUP)
    proc.err.wait("nothing was reloaded")
    os.kill(worker, signal.SIGALRM)  # a replacement would be of the new version
    wait_ready(proc, version="v1")
    stop(proc)


@pytest.mark.parametrize("behaviour", ["refusing", "broken"])
def test_reload_whose_children_cannot_start_is_undone(
    start: Start, tmp_path: Path, behaviour: str
) -> None:
    config = tmp_path / "config.json"
    proc = start(workers=2, reload=str(config))
    old = {wait_ready(proc), wait_ready(proc)}
    wait_complete(proc)
    config.write_text(json.dumps({"version": "v2", "workers": 2, "worker": behaviour}))
    proc.signal(signal.SIGHUP)
    proc.err.wait("the reload is undone: worker 0 did not come up")
    wait_complete(proc)
    assert set(children_of(proc.pid)) == old
    os.kill(old.pop(), signal.SIGKILL)
    wait_ready(proc, version="v1")
    stop(proc)


def test_term_during_a_reload_stops_both_generations(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    proc = start(workers=2, reload=str(config))
    wait_complete(proc)
    config.write_text(json.dumps({"version": "v2", "workers": 2, "worker": "slow"}))
    proc.signal(signal.SIGHUP)
    proc.out.wait("^booting v2")
    stop(proc)
    assert len(proc.out.all("got v1 .* SIGTERM")) == 2


def test_child_that_asks_to_be_replaced_works_until_the_new_one_is_ready(start: Start) -> None:
    proc = start(workers=1)
    first = wait_ready(proc)
    wait_complete(proc)
    os.kill(first, signal.SIGALRM)
    second = wait_ready(proc)
    proc.out.wait(rf"^got v1 {first} SIGTERM")
    wait_until_gone(first)
    assert state_of(second) not in ("", "Z")
    stop(proc)


def test_child_that_leaves_to_be_replaced_is_no_crash(start: Start) -> None:
    proc = start(workers=1, scheduler="obedient", limits={"first_delay": 60})
    worker = wait_ready(proc)
    wait_complete(proc)
    os.kill(worker, signal.SIGPROF)
    wait_ready(proc)
    stop(proc)
    assert not proc.out.all("orphan")


def test_ttin_and_ttou_change_the_number_of_workers_down_to_one(start: Start) -> None:
    proc = start(workers=1)
    first = wait_ready(proc)
    proc.signal(signal.SIGTTIN)
    second = wait_ready(proc)
    wait_complete(proc)
    proc.signal(signal.SIGTTOU)
    proc.out.wait(rf"^got v1 {second} SIGTERM")
    proc.signal(signal.SIGTTOU)
    proc.err.wait("still 1 workers wanted")
    eventually(lambda: children_of(proc.pid) == [first])
    stop(proc)


# Other orders


def test_quiet_and_resume_reach_children_also_those_that_come_later(start: Start) -> None:
    proc = start(workers=1, scheduler="obedient", limits=NO_DELAY)
    worker = wait_ready(proc)
    wait_complete(proc)
    proc.signal(signal.SIGTSTP)
    proc.out.wait(rf"^inbox v1 {worker} quiet$")
    os.kill(worker, signal.SIGTERM)
    successor = wait_ready(proc)
    proc.out.wait(rf"^inbox v1 {successor} quiet$")
    proc.signal(signal.SIGCONT)
    proc.out.wait(rf"^inbox v1 {successor} resume$")
    stop(proc)


def test_usr1_reopens_logs_in_the_parent_and_then_in_children(start: Start) -> None:
    proc = start(workers=1)
    worker = wait_ready(proc)
    wait_complete(proc)
    proc.signal(signal.SIGUSR1)
    proc.out.wait("^reopened supervisor")
    proc.out.wait(rf"^got v1 {worker} SIGUSR1")
    stop(proc)


def test_usr2_prints_the_stacks_of_every_process(start: Start) -> None:
    proc = start(workers=1, worker="silent")
    wait_complete(proc)
    proc.signal(signal.SIGUSR2)
    proc.err.wait("supervisor.py.* in _obey")
    proc.err.wait("supervised.py.* in live")
    stop(proc)


# systemd


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket such as systemd listens on, and its address as systemd writes it."""
    name = f"qd-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name if request.param == "abstract" else name)
        sock.settimeout(5)
        yield sock, "@" + name if request.param == "abstract" else name


def hear(sock: socket.socket, start: str) -> str:
    """The next message that begins so."""
    while not (message := sock.recv(4096).decode()).startswith(start):
        pass
    return message


def test_systemd_is_told_what_happens(
    start: Start, systemd: tuple[socket.socket, str], tmp_path: Path
) -> None:
    sock, address = systemd
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"version": "v2", "workers": 2}))
    env = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"}
    proc = start(workers=2, reload=str(config), env=env)

    assert hear(sock, "READY") == "READY=1"
    assert len(wait_lines(proc, "^ready", 2)) == 2
    assert hear(sock, "STATUS") == "STATUS=2 of 2 workers ready"
    hear(sock, "WATCHDOG=1")
    hear(sock, "WATCHDOG=1")

    proc.signal(signal.SIGHUP)
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", hear(sock, "RELOADING"))
    hear(sock, "READY=1")
    assert len(wait_lines(proc, "^ready v2", 2)) == 2

    proc.signal(signal.SIGTERM)
    assert re.fullmatch(r"STOPPING=1\nEXTEND_TIMEOUT_USEC=14000000", hear(sock, "STOPPING"))
    assert proc.wait() == 0


# PID 1


def can_unshare() -> bool:
    probe = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    try:
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def test_pid_1_collects_strangers_and_never_takes_them_for_its_children(start: Start) -> None:
    if not can_unshare():
        pytest.skip("this user cannot make a PID namespace")
    prefix = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    proc = start(prefix=prefix, workers=1, worker="strange")
    wait_ready(proc)
    wait_complete(proc)
    (init,) = children_of(proc.pid)
    # Its pids are those of the namespace; from here the one worker must be all that is left.
    eventually(lambda: len(children_of(init)) == 1)
    assert len(proc.out.all("^stranger")) == 1
    os.kill(init, signal.SIGTERM)
    assert proc.wait() == 0
    assert len(proc.out.all("^booting")) == 1
