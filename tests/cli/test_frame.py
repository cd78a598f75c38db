"""What holds for every command: options anywhere, errors in one line, exit codes, colours, pipes."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import redis

from tests.cli.conftest import ENVIRONMENT, Cli, Store
from tests.support.wait import eventually

QD = [sys.executable, "-m", "qd"]


def _on_terminal(args: Sequence[str], *, typed: str = "", **env: str) -> tuple[int, str]:
    """Run qd with all three streams on a terminal; returns exit code and what it showed."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*QD, *args],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**ENVIRONMENT, "TERM": "xterm-256color", "COLUMNS": "80", **env},
    )
    os.close(slave)
    os.write(master, typed.encode())
    shown = b""
    try:
        while part := os.read(master, 65536):
            shown += part
    except OSError:
        # The other side is closed: the process has ended.
        pass
    os.close(master)
    return process.wait(timeout=10), shown.decode()


def test_global_options_may_stand_before_or_after_the_subcommand(cli: Cli, store: Store) -> None:
    store.task()
    pages = [
        cli("--json", "queue", "ls"),
        cli("queue", "--json", "ls"),
        cli("queue", "ls", "--json"),
        cli("queue", "ls", "-o", "json"),
    ]
    assert {page.json["queues"][0]["name"] for page in pages} == {"default"}


def test_wrong_command_gets_the_nearest_one(cli: Cli) -> None:
    done = cli("queu", code=2)
    assert done.err == 'qd: No command "queu". Did you mean "queue"?\nhint: qd --help\n'
    assert 'Did you mean "pause"?' in cli("queue", "pausee", code=2).err


def test_wrong_option_gets_the_nearest_one(cli: Cli) -> None:
    assert "'--queue'" in cli("task", "ls", "--queu", "x", code=2).err


def test_wrong_queue_name_gets_the_nearest_one_and_exit_code_3(cli: Cli, store: Store) -> None:
    store.task(queue="critical")
    done = cli("queue", "show", "critcal", code=3)
    assert done.err.startswith('qd: There is no queue "critcal". Did you mean "critical"?\nhint: ')
    assert done.out == ""


def test_duration_without_a_unit_is_refused_with_the_fix(cli: Cli) -> None:
    assert "write 5s for seconds or 5m for minutes" in cli("enqueue", "a", "--in", "5", code=2).err


def test_bad_configuration_lists_all_problems_and_exits_78(cli: Cli) -> None:
    done = cli("--set", "worker.concurency=1", "--set", "redis.db=x", "stats", code=78)
    assert len([line for line in done.err.splitlines() if line.startswith("qd: ")]) == 2
    assert 'worker.concurency: unknown key. Did you mean "concurrency"?' in done.err


def test_unreachable_redis_is_one_line_a_hint_and_exit_code_69_within_3_s() -> None:
    started = time.monotonic()
    done = Cli("redis://:secret-word@127.0.0.1:1")("queue", "ls", code=69)
    assert time.monotonic() - started < 3
    assert re.fullmatch(r"qd: .*127\.0\.0\.1:1.*\nhint: .*\n", done.err)
    assert "secret-word" not in done.err


def test_password_of_the_url_is_masked_wherever_it_could_be_shown() -> None:
    cli = Cli("redis://:secret-word@127.0.0.1:1")
    assert "***" in cli("config", "show", "redis.addrs").out
    for args in (["config", "show"], ["config", "show", "--json"]):
        assert "secret-word" not in cli(*args).out
    shown = cli("--debug", "stats", code=69).err
    assert "Traceback" in shown
    assert "secret-word" not in shown


def test_traceback_is_shown_with_debug_only(cli: Cli) -> None:
    assert "Traceback" not in cli("queue", "show", "nope", code=3).err
    assert "Traceback" in cli("--debug", "queue", "show", "nope", code=3).err


def test_unexpected_error_is_one_line_and_exit_code_1(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A working folder that was removed is nothing any command expects."""
    folder = Path("gone").absolute()
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    done = cli("queue", "ls", code=1)
    assert done.err.startswith("qd: internal error: FileNotFoundError")
    assert "--debug" in done.err


def test_untrusted_text_cannot_control_the_terminal(cli: Cli, store: Store) -> None:
    """Payloads and errors are shown escaped in every form, and are not taken for rich's markup."""
    store.dead("x1", error="\x1b[31mred\x07 \u202e[bold]kept[/bold]\u009b2J", payload=b"\x1b[2J")
    for form in ("table", "plain", "json", "jsonl"):
        shown = cli("dlq", "ls", "-o", form).out
        assert "[bold]kept[/bold]" in shown
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", shown)


def test_table_on_a_terminal_is_coloured_and_fits() -> None:
    code, shown = _on_terminal(["config", "show", "worker"])
    assert code == 0
    assert "\x1b[" in shown
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert all(len(line) <= 80 for line in plain.splitlines())


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_is_obeyed(env: dict[str, str]) -> None:
    code, shown = _on_terminal(["config", "show", "worker"], **env)
    assert code == 0
    assert "worker.concurrency" in shown
    assert not re.search(r"\x1b\[\d*(;\d+)*m", shown)


def test_colour_can_be_forced_into_a_pipe(cli: Cli, store: Store) -> None:
    store.dead("x1")
    assert "\x1b[" in cli("dlq", "ls", "--color", "always").out
    assert "\x1b[" not in cli("dlq", "ls").out


def test_pipe_that_is_closed_early_is_no_error(redis_url: str, store: Store) -> None:
    for number in range(30):
        store.dead(f"x{number}", payload=b"p" * 10_000)
    process = subprocess.Popen(
        [*QD, "--redis", redis_url, "dlq", "ls", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=10) == 141
    assert errors == b""


def test_interrupt_ends_with_130_and_no_traceback(
    redis_url: str, store: Store, raw: redis.Redis
) -> None:
    task = store.task()
    store.close()
    process = subprocess.Popen(
        [*QD, "--redis", redis_url, "task", "wait", task.id],
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    eventually(lambda: len(raw.client_list()) > 1)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=10) == 130
    assert errors == b"qd: interrupted\n"


def test_destroying_on_a_terminal_asks_first(redis_url: str, store: Store) -> None:
    """The question comes with a count and a sample; no changes nothing, yes does it."""
    for name in ("x1", "x2", "x3", "x4"):
        store.dead(name)
    command = ["--redis", redis_url, "dlq", "purge", "default"]
    code, shown = _on_terminal(command, typed="n\n")
    assert code == 1
    assert "Delete 4 dead tasks of default? [y/N]" in shown
    assert [name in shown for name in ("x1", "x2", "x3", "x4")] == [True, True, True, False]
    assert store.state("x1") == "archived"
    code, _ = _on_terminal(command, typed="y\n")
    assert code == 0
    assert store.state("x1") is None


def test_without_redis_configured_a_private_server_is_used_and_said_so(tmp_path: Path) -> None:
    """What one command enqueues there, the next one finds."""
    folder = tmp_path / "project"
    folder.mkdir()

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*QD, *args], capture_output=True, text=True, check=True, env=ENVIRONMENT, cwd=folder
        )

    first = run("enqueue", "a")
    assert first.stderr.count("\n") == 1
    assert ".qd" in first.stderr
    assert run("queue", "ls", "-o", "plain").stdout.startswith("default\trunning\t1\t")


def test_a_read_command_imports_little(redis_url: str, store: Store) -> None:
    """It is to answer within 0.3 s, and most of that is imports; how many is no matter of the machine."""
    store.task()
    command = [sys.executable, "-X", "importtime", *QD[1:], "--redis", redis_url, "queue", "ls"]
    said = subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT, text=True)
    lines = [line for line in said.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip() for line in lines}
    assert "redis.connection" in imported
    assert not imported & {"uvloop", "rich", "yaml", "prometheus_client", "qd.runtime"}
    parts = ("tasks", "servers", "breakers", "limits", "periodic", "timeline", "stats")
    assert not imported & {f"qd.inspector.{one}" for one in parts}, "nothing of them was asked for"
    assert not imported & {"importlib.metadata", "opentelemetry.metrics._internal"}
    assert len(imported) < 380


def test_version_is_shown() -> None:
    from qd import __version__

    cli = Cli("redis://127.0.0.1:1")
    assert cli("--version").out == f"qd {__version__}\n"
    assert cli("version", "--json").json["versions"]["qd"] == __version__
