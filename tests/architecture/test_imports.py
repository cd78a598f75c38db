"""Who may import whom, and what a command costs before it does anything."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from qd.cli.main import qd

ROOT = Path(__file__).parents[2]
COMMANDS = qd.list_commands(click.Context(qd))
HEAVY = {"redis", "asyncio", "yaml", "uvloop", "hiredis", "msgspec", "croniter", "rich"}


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def imported_by(code: str) -> set[str]:
    """Top-level modules that are imported once `code` has run."""
    told = "import sys; print('\\n' + ' '.join({name.partition('.')[0] for name in sys.modules}))"
    return set(python(f"{code}\n{told}").splitlines()[-1].split())


def test_the_import_contracts_hold() -> None:
    program = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    assert program, "import-linter is missing: install the extra `lint`"
    done = subprocess.run(
        [program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)],
    ids=" ".join,
)
def test_help_is_printed_without_heavy_imports(arguments: list[str]) -> None:
    found = imported_by(
        "from qd.cli.main import main\n"
        f"import sys; sys.argv = ['qd', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code"
    )
    assert found & HEAVY == set()


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("qd.protocol.ops.tasks", {"redis", "asyncio", "socket"}),
        (
            "qd.policy.outcome",
            {
                "redis",
                "asyncio",
                "socket",
            },
        ),
        ("qd.supervisor.supervisor", {"redis", "asyncio", "uvloop"}),
        ("qd.errors", {"redis", "asyncio", "click"}),
        ("qd.durations", {"redis", "asyncio", "click"}),
    ],
)
def test_a_module_brings_along_only_what_it_needs(module: str, forbidden: set[str]) -> None:
    assert imported_by(f"import {module}") & forbidden == set()


def test_naming_the_package_costs_next_to_nothing() -> None:
    assert imported_by("import qd") & HEAVY == set()
