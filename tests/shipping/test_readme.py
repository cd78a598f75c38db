"""What the README says can be typed, and what it lists is complete."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest
import yaml

import qd as package
from qd.app.app import App
from qd.cli.frame import Flags
from qd.cli.main import qd
from qd.config.load import from_mapping
from qd.errors import ExitCode
from qd.protocol.state import TaskState
from qd.supervisor.signals import HANDLED
from tests.support.procs import ROOT

README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()
UNTOLD = {"SIGCHLD", "SIGUSR1"}
"""Signals that nobody has to send: one is the kernel's, and log files are opened anew by themselves."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.M | re.S)


def commands() -> list[str]:
    """Every command line that begins with `qd`: in console blocks, and between backticks."""
    typed = [
        line.removeprefix("$ ")
        for block in blocks("console")
        for line in block.splitlines()
        if line.startswith("$ qd ")
    ]
    quoted = re.findall(r"`(qd [a-z][^`]*)`", re.sub(r"^```.*?^```", "", README, flags=re.M | re.S))
    return [*typed, *quoted]


def parse(line: str) -> None:
    """Read a command line down to its last option; click raises where it would refuse it."""
    words = shlex.split(line, comments=True)[1:]
    command: click.Command = qd
    ctx = command.make_context("qd", words, obj=Flags())
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(ctx, [*ctx._protected_args, *ctx.args])
        assert found is not None
        # A group named for itself is the answer already.
        if isinstance(found, click.Group) and not words:
            return
        command, ctx = found, found.make_context(name, list(words), parent=ctx)


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_every_command_can_be_typed(line: str) -> None:
    parse(line)


def test_the_command_lines_of_this_test_are_really_read() -> None:
    assert len(commands()) > 25
    with pytest.raises(click.UsageError):
        parse("qd dlq requeue --evrything")


def test_the_first_handler_is_an_application() -> None:
    (source,) = [block for block in blocks("python") if block.startswith("# tasks.py")]
    found: dict[str, object] = {"__name__": "readme_tasks"}
    exec(compile(source, "tasks.py", "exec"), found)
    app = found["app"]
    assert isinstance(app, App)
    assert app.router.patterns == ["email:send"]
    for block in blocks("python"):
        compile(block, "README.md", "exec")


def test_the_configuration_is_one_that_qd_accepts(tmp_path: Path) -> None:
    text, *others = blocks("yaml")
    password = tmp_path / "redis"
    password.write_text("secret\n")
    settings = from_mapping(yaml.safe_load(text.replace("/run/secrets/redis", str(password))))
    assert settings.schedule["nightly-report"].timezone == "Europe/Lisbon"
    for other in others:
        from_mapping(yaml.safe_load(other))


def test_every_exit_code_is_listed() -> None:
    table = README.split("| exit code |")[1].split("\n\n")[0]
    listed = {
        int(code) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.M) for code in row.split(",")
    }
    assert listed == {int(code) for code in ExitCode}


def test_every_signal_is_listed() -> None:
    table = README.split("| signal |")[1].split("\n\n")[0]
    for number in HANDLED:
        told = number.name.removeprefix("SIG") in re.findall(r"\b[A-Z0-9]+\b", table)
        assert told == (number.name not in UNTOLD), number.name


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"])
def test_links_lead_to_files(name: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text())
    assert not [one for one in links if "://" not in one and not (ROOT / one).exists()]


def test_every_state_and_script_of_the_table_of_states_exists() -> None:
    table = ARCHITECTURE.split("## States")[1].split("\n\n")[1]
    scripts = {path.stem for path in (ROOT / "qd" / "protocol" / "lua").glob("*.lua")}
    rows = [row.strip("|").split("|") for row in table.splitlines()[2:]]
    assert len(rows) > 15
    for row in rows:
        assert set(re.findall(r"`(\w+)`", row[3])) <= scripts
    words = {word for row in rows for word in re.findall(r"[a-z]+", row[0] + row[1])}
    assert {state.value for state in TaskState} <= words


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["server"]]
    reasons = ARCHITECTURE.split("## Dependencies")[1].split("## ")[0]
    for one in needed:
        name = re.split(r"[\[<>=]", one)[0]
        assert re.search(rf"^\| {name}\b", reasons, re.M), name


def test_the_changelog_knows_this_version() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert f"## [{package.__version__}]" in changes
