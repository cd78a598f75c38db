"""Completion: what a shell is offered, in real shells, and that it is never kept waiting."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from qd.cli import candidates
from qd.cli.completion import answer
from qd.cli.main import qd
from qd.protocol import keys
from tests.cli.conftest import ENVIRONMENT, Store
from tests.cli.screen import Terminal
from tests.support.wait import eventually

QD = (sys.executable, "-m", "qd")


def _ask(shell: str, *words: str, url: str = "", **environ: str) -> list[str]:
    """What `qd` answers to a shell."""
    redis = {"QD_REDIS__ADDRS": url} if url else {}
    done = subprocess.run(
        [*QD, *words],
        env={**ENVIRONMENT, "_QD_COMPLETE": shell, **redis, **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


Offered = Callable[..., set[str]]


@pytest.fixture
def offered(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Offered:
    """The values offered behind some words, by this process, which has more patience than a shell."""
    monkeypatch.setenv("QD_REDIS__ADDRS", redis_url)
    monkeypatch.setattr(candidates, "_PATIENCE", 30)

    def offered(*words: str) -> set[str]:
        answer(qd, "fish", words)
        return {line.partition("\t")[0] for line in capsys.readouterr().out.splitlines()}

    return offered


def test_commands_and_options_are_offered_without_redis() -> None:
    assert "queue\tList, pause, resume, purge or remove queues." in _ask("fish", "")
    assert {line.partition("\t")[0] for line in _ask("zsh", "task", "w")} == {"why", "wait"}
    assert "--state" in _ask("bash", "qd task ls --st")
    assert "archived" in _ask("bash", "qd task ls --state ar")


def test_names_in_redis_are_offered(store: Store, offered: Offered) -> None:
    store.task("a", task_id="one", queue="low")
    store.task("a", task_id="two", queue="high", process_in="1h")
    store.dead("three")
    store.task("a", task_id="four", queue="low", group="user:7")
    server = store.worker("low")
    store.periodic("nightly", "@every 1h")
    assert offered("queue", "show", "") == {"default", "high", "low"}
    assert offered("queue", "pause", "low", "") == {"default", "high"}
    assert offered("task", "ls", "--queue=h") == {"--queue=high"}
    assert offered("task", "show", "") == {"one", "two", "three", "four"}
    assert offered("task", "why", "-q", "high", "") == {"two"}
    assert offered("task", "run", "t") == {"two", "three"}
    assert offered("dlq", "requeue", "") == {"three"}
    assert offered("dlq", "purge", "") == {"default"}
    assert offered("cron", "pause", "") == {"nightly"}
    assert offered("server", "show", "") == {server}
    assert offered("server", "quiet", "") == {server, "web-1"}
    assert offered("group", "flush", "") == {"user:7"}
    assert offered("task", "ls", "--type", "") == {"a"}


def test_what_stands_in_redis_is_not_carried_out_by_bash(store: Store, redis_url: str) -> None:
    store.task("a", task_id="x$(touch y);`z` 'q'")
    # No client of ours would write such an id; another may.
    stored = keys.task("default", "y")
    store.task("a", task_id="y")
    store.raw.copy(stored, keys.task("default", "x\x1b[2J"))
    store.raw.lpush(keys.pending("default"), "x\x1b[2J")
    (offered,) = eventually(lambda: _ask("bash", "qd task show x", url=redis_url), within=30)
    assert shlex.split(offered) == ["x$(touch y);`z` 'q'"]
    assert "$(" not in offered.replace("\\$", "")


def test_bash_gets_what_is_behind_its_word_breaks(store: Store, redis_url: str) -> None:
    store.task("a", task_id="cron:x:1")
    lines = eventually(
        lambda: _ask("bash", "qd task show cron:x", url=redis_url, _QD_BREAKS=" \t\n=:"), within=30
    )
    assert lines == ["x:1"]


def test_a_file_is_completed_by_the_shell() -> None:
    assert _ask("fish", "-c", "") == ["\t"]
    assert _ask("bash", "qd dlq export ") == ["\t"]


def test_nothing_is_offered_and_nothing_started_when_redis_is_away(tmp_path: Path) -> None:
    assert _ask("fish", "queue", "show", "", url="redis://127.0.0.1:1") == []
    done = subprocess.run(
        [*QD, "queue", "show", ""],
        env={**ENVIRONMENT, "_QD_COMPLETE": "fish"},
        capture_output=True,
        check=True,
        cwd=tmp_path,
    )
    assert (done.stdout, done.stderr) == (b"", b"")
    assert list(tmp_path.iterdir()) == []


def test_a_redis_that_does_not_answer_is_left() -> None:
    """A server that takes connections and says nothing: the shell gets nothing, and soon."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert _ask("fish", "queue", "show", "", url=f"redis://127.0.0.1:{port}") == []


def test_a_command_that_does_not_exist_offers_nothing() -> None:
    assert _ask("fish", "nonsense", "") == []


SHELLS = {
    "bash": ("bash", "--norc", "--noprofile", "-i"),
    "zsh": ("zsh", "-f", "-i"),
    "fish": ("fish", "--no-config", "-i"),
}
_BEGIN = {
    "bash": 'eval "$(qd completion bash)"',
    "zsh": 'autoload -Uz compinit; compinit -D -u; eval "$(qd completion zsh)"',
    "fish": "qd completion fish | source",
}


@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes_in_a_real_shell(
    shell: str, store: Store, redis_url: str, tmp_path: Path
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    store.task("a", task_id="it:7:abc", queue="lowest")
    program = tmp_path / "qd"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m qd "$@"\n')
    program.chmod(0o755)
    env = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": ENVIRONMENT["PYTHONPATH"],
        "HOME": str(tmp_path),
        "QD_REDIS__ADDRS": redis_url,
        "PS1": "ready> ",
    }
    with Terminal((), env, columns=120, program=SHELLS[shell]) as terminal:
        terminal.press(f"{_BEGIN[shell]}; echo set-''up\n")
        terminal.wait("set-up", within=30)
        for typed, whole in (("queue show low", "lowest"), ("task show it:7:", "it:7:abc")):
            terminal.press(f"qd {typed}")
            # A tab that Redis has answered too late for is pressed again.
            wanted = f"{typed.rpartition(' ')[0]} {whole}"
            eventually(partial(_tabbed, terminal, wanted), within=40)
            terminal.press("\x15")
        terminal.press("exit\n")


def _tabbed(terminal: Terminal, wanted: str) -> bool:
    terminal.press("\t")
    try:
        terminal.wait(wanted, within=3)
    except AssertionError:
        return False
    return True
