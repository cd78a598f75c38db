"""What is written about the code is true of it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(path.parent for path in (ROOT / "qd").rglob("__init__.py"))
MODULES = sorted((ROOT / "qd").rglob("*.py"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def table_of(heading: str) -> list[str]:
    """The rows of the table below a heading of ARCHITECTURE.md."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    parts = re.split(r"^#+ (.+)$", text, flags=re.M)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    found = [body for title, body in sections.items() if heading in title.lower()]
    assert found, f"ARCHITECTURE.md has no section {heading!r}"
    return [line for line in found[0].splitlines() if line.startswith("|")]


def test_the_files_that_the_map_names_exist() -> None:
    rows = table_of("where is")
    paths = [path for row in rows for path in re.findall(r"`([\w./-]+/[\w./-]*)`", row)]
    assert len(paths) >= 10
    missing = [
        path for path in paths if not (ROOT / path).exists() and not (ROOT / "qd" / path).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("package", PACKAGES, ids=name)
def test_every_package_says_what_it_holds(package: Path) -> None:
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text()))
    assert text, f"{name(package)} has no docstring"
    assert len(text.splitlines()) <= 30


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_every_module_says_what_it_is_for(module: Path) -> None:
    assert ast.get_docstring(ast.parse(module.read_text())), f"{name(module)} has no docstring"


def test_files_that_package_docstrings_name_exist() -> None:
    missing = []
    for package in PACKAGES:
        text = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
        for one in re.findall(r"`?\b([\w/]+\.(?:py|lua))\b`?", text):
            where = [package / one, package.parent / one, ROOT / one, ROOT / "qd" / one]
            if not any(path.exists() for path in where):
                missing.append(f"{name(package)}: {one}")
    # asynq's own files, and others that are not of this project.
    assert [one for one in missing if not one.endswith(".go")] == []


@pytest.mark.parametrize("folder", ["qd", "tests", "config", "systemd"])
def test_no_file_speaks_of_places_on_somebodys_machine(folder: str) -> None:
    odd = re.compile(
        r"/(?:root|home/\w+|work)/|\bproduct\.md\b|\basynq-protocol\.md\b|\breliability\.md\b"
    )
    own = Path(__file__)
    found = [
        f"{name(path)}: {match[0]}"
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".lua", ".yaml", ".md", ".service", ".go"} and path != own
        for match in odd.finditer(path.read_text())
    ]
    assert found == []


def test_files_stay_short() -> None:
    """One moving part, one file: what no longer fits is two parts."""
    long = {
        name(path): lines for path in MODULES if (lines := len(path.read_text().splitlines())) > 450
    }
    assert long == {}
