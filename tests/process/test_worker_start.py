"""`qd worker` and `qd scheduler` from their first second: what starts, what is refused, and how."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from qd.protocol import keys
from tests.process.daemon import JOBS, QUEUE, START_WITHIN, Daemon, workers_of
from tests.support.procs import descendants_of, wait_until_gone
from tests.support.wait import eventually

pytestmark = pytest.mark.process

APPS = "tests.process.apps"


def test_two_workers_and_a_scheduler_start_and_run_tasks(daemon: Daemon) -> None:
    proc = daemon.start()
    assert len(workers_of(proc)) == 3
    assert {info.pid for info in eventually(daemon.servers)} <= workers_of(proc)
    ids = [daemon.enqueue("slow") for _ in range(40)]
    for task_id in ids:
        assert daemon.settled(task_id) == ""
    assert sorted(one.id for one in daemon.events("end")) == sorted(ids)
    assert len({one.pid for one in daemon.events()}) == 2, "both workers had their share"


@pytest.mark.parametrize(
    ("app", "says"),
    [
        ("no_such_module", "there is no module 'no_such_module'"),
        ("tests/process/apps/jobs.py", "no module name"),
    ],
)
def test_a_missing_module_is_one_line_and_a_hint(daemon: Daemon, app: str, says: str) -> None:
    proc = daemon.command("worker", "--app", app)
    assert proc.wait(START_WITHIN) == 2
    what, hint = proc.err.text().splitlines()
    assert what.startswith("qd: ")
    assert says in what
    assert hint.startswith("hint: ")


@pytest.mark.parametrize(
    ("app", "says"),
    [
        (f"{APPS}.empty", "has no qd.App"),
        (f"{APPS}.several", "has several apps: first, second"),
        (f"{JOBS}:ap", "has no attribute 'ap'"),
        (f"{APPS}.nothing", f"there is no module '{APPS}.nothing'"),
    ],
)
def test_a_module_without_the_app_ends_the_start_with_usage(
    daemon: Daemon, app: str, says: str
) -> None:
    proc = daemon.command("worker", "--app", app)
    assert proc.wait(START_WITHIN) == 2
    assert says in proc.err.text()
    assert "Traceback" not in proc.err.text()
    # Nobody tried again: there was one generation of children.
    assert len(proc.err.all(r"worker 0 \(pid \d+\) started")) == 1


@pytest.mark.parametrize(
    ("app", "error"),
    [
        (f"{APPS}.raises", "ValueError: no database"),
        (f"{APPS}.imports_missing", "ModuleNotFoundError: No module named 'no_such_package'"),
    ],
)
def test_a_module_that_raises_shows_the_user_s_own_frames_only(
    daemon: Daemon, app: str, error: str
) -> None:
    proc = daemon.command("worker", "--app", app)
    assert proc.wait(START_WITHIN) == 1
    assert error in proc.err.text()
    files = {Path(path).name for path in re.findall(r'File "([^"]+)"', proc.err.text())}
    assert files == {app.rpartition(".")[2] + ".py"}
    assert "\\n" not in "".join(proc.err.all("importing")), "lines stay readable"
    assert len(proc.err.all(r"worker 0 \(pid \d+\) started")) == 1


def test_a_startup_hook_that_fails_is_tried_again_and_again_then_given_up(daemon: Daemon) -> None:
    proc = daemon.command("worker", "--app", f"{APPS}.fails_to_start")
    proc.err.wait("ConnectionError: no database", START_WITHIN)
    proc.err.wait(r"ended: exit code 1")
    proc.err.wait(r"worker \d \(pid \d+\) started", 10)
    files = {Path(path).name for path in re.findall(r'File "([^"]+)"', proc.err.text())}
    assert files == {"fails_to_start.py"}


def test_all_problems_of_the_configuration_are_listed(daemon: Daemon) -> None:
    daemon.configure(worker={"concurrency": "many", "hard_grace": 5}, queues={"x": "heavy"}, typo=1)
    proc = daemon.command("worker", "--app", JOBS)
    assert proc.wait(START_WITHIN) == 78
    for name in ("worker.concurrency", "worker.hard_grace", "queues.x", "typo"):
        assert name in proc.err.text()
    assert "Traceback" not in proc.err.text()


def test_check_starts_nothing(daemon: Daemon) -> None:
    proc = daemon.command("worker", "--app", JOBS, "--check")
    assert proc.wait(START_WITHIN) == 0
    assert not daemon.raw.keys("*")
    bad = daemon.command("worker", "--app", f"{APPS}.raises", "--check")
    assert bad.wait(START_WITHIN) == 1
    assert "ValueError: no database" in bad.err.text()


def test_burst_ends_by_itself_when_no_task_is_left(daemon: Daemon) -> None:
    ids = [daemon.enqueue("slow") for _ in range(50)]
    proc = daemon.command("worker", "--app", JOBS, "--burst")
    assert proc.wait(START_WITHIN) == 0
    assert sorted(one.id for one in daemon.events("end")) == sorted(ids)
    assert [daemon.state(task_id) for task_id in ids] == [""] * 50
    assert daemon.nothing_held()
    assert not daemon.raw.exists(keys.SERVERS)


def test_burst_with_nothing_to_do_ends(daemon: Daemon) -> None:
    proc = daemon.command("worker", "--app", JOBS, "--burst", "--no-scheduler")
    assert proc.wait(START_WITHIN) == 0


def test_no_scheduler_means_workers_only(daemon: Daemon) -> None:
    proc = daemon.start("--no-scheduler")
    assert len(workers_of(proc)) == 2
    assert not proc.err.all("scheduler")


def test_the_scheduler_alone_forwards_and_ticks_and_runs_nothing(daemon: Daemon) -> None:
    later = daemon.enqueue("later", process_in=1)
    proc = daemon.command("scheduler", "--app", f"{APPS}.clock")
    proc.err.wait("all 1 children are ready", START_WITHIN)
    eventually(lambda: daemon.state(later) == "pending", 5)
    eventually(lambda: daemon.raw.llen(keys.pending(QUEUE)) >= 3, 5)
    assert daemon.events() == []
    assert daemon.raw.zcard(keys.SCHEDULERS) == 1
    worker = daemon.start("--no-scheduler", app=f"{APPS}.clock")
    daemon.wait_for("ran", later)
    eventually(lambda: len(daemon.events("tick")) >= 2)
    ticks = [one.id for one in daemon.events("tick")]
    assert len(ticks) == len(set(ticks))
    worker.signal(15)
    proc.signal(15)
    assert (worker.wait(10), proc.wait(10)) == (0, 0)
    assert not daemon.raw.exists(keys.SCHEDULERS, keys.SERVERS)


def test_flags_win_over_the_file(daemon: Daemon) -> None:
    daemon.worker(concurrency=3)
    proc = daemon.start(
        "--processes", "1", "--concurrency", "7", "-q", "fast=5,default=1", "--strict"
    )
    (info,) = eventually(daemon.servers)
    assert (info.concurrency, dict(info.queues), info.strict_priority) == (
        7,
        {"fast": 5, "default": 1},
        True,
    )
    assert len(workers_of(proc)) == 2


def test_preload_imports_once_and_works(daemon: Daemon) -> None:
    daemon.worker(preload=True)
    daemon.start()
    assert daemon.settled(daemon.enqueue("fine")) == ""


def test_redis_not_there_is_said_once_and_waited_for(daemon: Daemon) -> None:
    daemon.server.stop()
    proc = daemon.command("worker", "--app", JOBS)
    for _ in range(3):
        proc.err.wait("waiting for Redis", START_WITHIN)
    started = time.monotonic()
    # Some more attempts, none of which is worth a line.
    eventually(lambda: time.monotonic() - started > 1.5)
    assert len(proc.err.all("waiting for Redis")) == 3, "one for each process"
    daemon.server.start()
    proc.err.wait("all 3 children are ready", 10)
    assert daemon.settled(daemon.enqueue("fine")) == ""
    assert len(proc.err.all(r"started$")) == 3, "nobody was replaced meanwhile"


def test_a_worker_told_to_stop_while_it_waits_for_redis_stops(daemon: Daemon) -> None:
    daemon.server.stop()
    proc = daemon.command("worker", "--app", JOBS)
    for _ in range(3):
        proc.err.wait("waiting for Redis", START_WITHIN)
    below = descendants_of(proc.pid)
    proc.signal(15)
    assert proc.wait(5) == 0
    for pid in below:
        wait_until_gone(pid)


@pytest.mark.parametrize("how", ["down", "silent"])
@pytest.mark.parametrize("words", [("queue", "ls"), ("enqueue", "fine")])
def test_commands_without_redis_say_so_soon(daemon: Daemon, how: str, words: list[str]) -> None:
    daemon.configure(redis={"addrs": [daemon.server.url], "call_timeout": "1s"})
    daemon.server.stop() if how == "down" else daemon.server.pause()
    started = time.monotonic()
    proc = daemon.command(*words)
    assert proc.wait(10) == 69
    assert time.monotonic() - started < 5
    assert proc.err.text().startswith("qd: ")
    assert "Traceback" not in proc.err.text()


def test_without_a_configured_redis_a_server_is_started_and_told_of(
    daemon: Daemon, tmp_path: Path
) -> None:
    daemon.configure(redis={"embedded_dir": str(tmp_path / "own")})
    first = daemon.command("enqueue", "fine", "--queue", QUEUE)
    assert first.wait(START_WITHIN) == 0
    proc = daemon.command("worker", "--app", JOBS, "--burst")
    assert proc.wait(START_WITHIN) == 0
    assert len(daemon.events("ran")) == 1, "the task has survived the server's restart"
    assert len(proc.err.all("no Redis configured")) == 1


def test_production_refuses_the_private_server(daemon: Daemon, tmp_path: Path) -> None:
    daemon.configure(redis={"embedded_dir": str(tmp_path / "own")}, environment="production")
    proc = daemon.command("worker", "--app", JOBS)
    assert proc.wait(START_WITHIN) == 78
    assert "production" in proc.err.text()
    assert not (tmp_path / "own").exists()


def test_redis_switched_off_refuses_the_worker(daemon: Daemon) -> None:
    daemon.configure(redis={"addrs": [daemon.server.url], "enabled": False})
    proc = daemon.command("worker", "--app", JOBS)
    assert proc.wait(START_WITHIN) == 78
    assert "redis.enabled" in proc.err.text()
