"""`qd config`, `qd completion`, `qd systemd`, `qd worker --check`: before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli

NOWHERE = Cli("redis://127.0.0.1:1")


def test_config_init_writes_a_file_that_check_likes() -> None:
    assert NOWHERE("config", "init").out == "qd.yaml written\n"
    assert NOWHERE("config", "check").out.endswith("no problems\n")
    assert NOWHERE("config", "check", "--json").json["problems"] == []
    assert NOWHERE("config", "init", "-").out == Path("qd.yaml").read_text()


def test_config_init_overwrites_nothing() -> None:
    Path("qd.yaml").write_text("mine: 1")
    assert "is not overwritten" in NOWHERE("config", "init", code=2).err
    assert Path("qd.yaml").read_text() == "mine: 1"


def test_config_check_reports_all_problems_with_their_places() -> None:
    Path("qd.yaml").write_text("worker:\n  concurency: 1\nredis:\n  db: x\n")
    done = NOWHERE("config", "check", code=78)
    assert [line.partition(": ")[2][:11] for line in done.err.splitlines()[:2]] == [
        "qd.yaml:2:3",
        "qd.yaml:4:7",
    ]


def test_config_show_names_where_each_value_came_from() -> None:
    Path("qd.yaml").write_text("worker:\n  concurrency: 7\n")
    done = NOWHERE(
        "config", "show", "worker", "--set", "worker.processes=2", "--json",
        env={"QD_WORKER__WATCHDOG": "20s"},
    )  # fmt: skip
    found = {one["key"]: (one["value"], one["from"]) for one in done.json["settings"]}
    assert found["worker.concurrency"] == (7, "qd.yaml:2")
    assert found["worker.processes"] == (2, "--set")
    assert found["worker.watchdog"] == ("20s", "QD_WORKER__WATCHDOG")
    assert found["worker.stall"][1] == "default"


def test_config_show_masks_passwords() -> None:
    Path("qd.yaml").write_text("redis:\n  password: secret-word\n")
    shown = NOWHERE("config", "show").out
    assert "***" in shown
    assert "secret-word" not in shown


def test_config_show_of_one_key() -> None:
    assert NOWHERE("config", "show", "redis.db", "-o", "plain").out == "redis.db\t0\tdefault\n"
    assert 'Did you mean "worker"?' in NOWHERE("config", "show", "wroker", code=3).err


def test_config_file_that_is_missing_is_said_so() -> None:
    assert '"other.yaml" does not exist' in NOWHERE("-c", "other.yaml", "stats", code=78).err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_a_shell(shell: str) -> None:
    assert "_QD_COMPLETE" in NOWHERE("completion", shell).out


def test_systemd_unit_runs_this_app_and_waits_long_enough() -> None:
    unit = NOWHERE(
        "systemd", "--app", "shop.tasks", "--user", "shop", "--set", "worker.shutdown_timeout=30s"
    ).out
    assert "worker --app shop.tasks\n" in unit
    assert "User=shop\n" in unit
    assert "TimeoutStopSec=40\n" in unit
    assert "RestartPreventExitStatus=2 78\n" in unit


def test_systemd_unit_escapes_what_means_something_there() -> None:
    Path("100% $a.yaml").write_text("app: shop.tasks\n")
    unit = NOWHERE("systemd", "-c", "100% $a.yaml").out
    assert '100%% $$a.yaml"' in unit
    assert NOWHERE("systemd", code=2).err.startswith("qd: No application is named.")


def test_worker_check_imports_the_app_and_starts_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    Path("good_app.py").write_text("import qd\napp = qd.App('x')\n")
    Path("bad_app.py").write_text("1 / 0\n")
    done = NOWHERE("worker", "--app", "good_app", "--check")
    assert done.err == "Configuration and app are fine.\n"
    assert "ZeroDivisionError" in NOWHERE("worker", "--app", "bad_app", "--check", code=1).err
    assert NOWHERE("worker", "--app", "no_such_app", "--check", code=2)
    assert NOWHERE("worker", "--check", code=2)


def test_worker_flags_win_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The app writes down the settings it was given."""
    monkeypatch.syspath_prepend(tmp_path)
    Path("qd.yaml").write_text("worker: {concurrency: 3}\nqueues: {a: 1}\n")
    Path("told_app.py").write_text(
        "import pathlib, qd\n"
        "class Told(qd.App):\n"
        "    def configure(self, s):\n"
        "        w = s.worker\n"
        "        told = (dict(s.queues), w.processes, w.concurrency, w.strict_priority,\n"
        "                w.shutdown_timeout, s.scheduler.enabled, s.log.level, s.log.format)\n"
        "        pathlib.Path('told').write_text(repr(told))\n"
        "app = Told('x')\n"
    )
    NOWHERE(
        "worker", "--app", "told_app", "--check", "-q", "b=10,c=4", "-q", "d", "--processes", "2",
        "--concurrency", "9", "--strict", "--no-scheduler", "--shutdown-timeout", "1m",
        "--log-level", "debug", "--log-format", "json",
    )  # fmt: skip
    expected = ({"b": 10, "c": 4, "d": 1}, 2, 9, True, 60.0, False, "debug", "json")
    assert Path("told").read_text() == repr(expected)


def test_worker_with_a_wrong_flag_exits_78() -> None:
    done = NOWHERE("worker", "--app", "x", "--concurrency", "many", code=78)
    assert "--concurrency" in done.err
