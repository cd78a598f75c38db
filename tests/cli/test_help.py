"""The help pages: complete, with examples, the same as last time, and fast."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from qd.cli.frame import Group
from qd.cli.main import qd
from tests.cli.conftest import ENVIRONMENT

GOLDEN = Path(__file__).parents[1] / "golden" / "help"


def _commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _commands(inner, (*path, name))


def _find(path: tuple[str, ...]) -> click.Command:
    command: click.Command = qd
    for name in path:
        assert isinstance(command, Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    return command


PATHS = list(_commands(qd, ()))


def _name(path: tuple[str, ...]) -> str:
    return "-".join(("qd", *path))


@pytest.mark.parametrize("path", PATHS, ids=_name)
def test_help_page_is_the_reviewed_one(
    path: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    """A change of a help page is seen in review: run with --update-golden and look at the diff."""
    result = CliRunner().invoke(qd, [*path, "--help"])
    assert result.exit_code == 0
    golden = GOLDEN / f"{_name(path)}.txt"
    if request.config.getoption("--update-golden", default=False):
        golden.write_text(result.stdout, encoding="utf-8")
    assert result.stdout == golden.read_text(encoding="utf-8")


def test_no_golden_page_is_left_of_a_command_that_is_gone() -> None:
    assert {page.stem for page in GOLDEN.iterdir()} == set(map(_name, PATHS))


@pytest.mark.parametrize("path", PATHS, ids=_name)
def test_every_command_says_what_it_does_and_has_examples(path: tuple[str, ...]) -> None:
    command = _find(path)
    paragraphs = (command.help or "").strip().split("\n\n")
    assert len(paragraphs) >= 2
    assert paragraphs[0].strip().endswith((".", "says so."))
    assert 1 <= len(command.examples) <= 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", PATHS, ids=_name)
def test_examples_are_command_lines_that_exist(path: tuple[str, ...]) -> None:
    """Each example names a command that exists, with options that it has."""
    for example in _find(path).examples:  # type: ignore[attr-defined]
        words = shlex.split(example.partition(" | ")[0].partition(" > ")[0])
        assert words.pop(0) == "qd"
        command: click.Command = qd
        while isinstance(command, Group):
            found = command.get_command(click.Context(command), words.pop(0))
            assert found is not None, example
            command = found
            if not words:
                break
        known = {
            option
            for parameter in command.get_params(click.Context(command))
            for option in parameter.opts
        }
        used = {word for word in words if word.startswith("-") and word != "-"}
        assert used <= known, example


def test_list_of_commands_says_what_the_commands_say() -> None:
    """The table of the root command, kept for speed, agrees with the commands themselves."""
    page = CliRunner().invoke(qd, ["--help"]).stdout
    for path in PATHS:
        if len(path) == 1:
            line = f"  {path[0]:<12}{_find(path).get_short_help_str(limit=200)}\n"
            assert line in page


def test_help_imports_nothing_heavy() -> None:
    """`qd --help` answers without Redis, asyncio, YAML, rich or JSON libraries."""
    script = (
        "import sys\n"
        "from qd.cli.main import main\n"
        "sys.argv = ['qd', '--help']\n"
        "try:\n    main()\n"
        "except SystemExit as error:\n    assert not error.code\n"
        "heavy = {'redis', 'asyncio', 'yaml', 'rich', 'msgspec', 'uvloop', 'hiredis'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=ENVIRONMENT
    )
    assert done.stderr == "[]\n"
    assert "Examples:" in done.stdout


def test_help_of_one_verb_imports_no_redis() -> None:
    script = (
        "import sys\n"
        "from qd.cli.main import main\n"
        "sys.argv = ['qd', 'dlq', 'requeue', '--help']\n"
        "try:\n    main()\n"
        "except SystemExit as error:\n    assert not error.code\n"
        "print(sorted({'redis', 'asyncio', 'yaml', 'rich'} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=ENVIRONMENT
    )
    assert done.stderr == "[]\n"
