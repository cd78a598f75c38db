"""`--app module:attribute`, and what is said when there is no such thing."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qd.app.loading import check_module_exists, load_app
from qd.errors import AppLoadError, ExitCode

Write = Callable[..., str]

_numbers = itertools.count()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module into the current folder; returns its name, which no other test has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def write(text: str, *, inside: str = "") -> str:
        name = f"shop{next(_numbers)}"
        folder = tmp_path / inside
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(text)
        return f"{inside}.{name}" if inside else name

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_the_only_app_of_a_module_is_found_under_any_name(write: Write) -> None:
    name = write("import qd\nshop = also = qd.App('mine')\nother = 3\n")
    assert load_app(name).name == "mine"


def test_an_attribute_names_one_of_several(write: Write) -> None:
    name = write("import qd\na = qd.App('a')\nb = qd.App('b')\n")
    assert load_app(f"{name}:b").name == "b"
    with pytest.raises(AppLoadError, match="several apps: a, b") as caught:
        load_app(name)
    assert caught.value.hint == f"Name one: --app {name}:a"


def test_a_misspelt_attribute_gets_a_suggestion(write: Write) -> None:
    name = write("import qd\napplication = qd.App('a')\n")
    with pytest.raises(AppLoadError, match='Did you mean "application"'):
        load_app(f"{name}:aplication")


def test_an_attribute_of_another_kind_is_refused(write: Write) -> None:
    name = write("app = {}\n")
    with pytest.raises(AppLoadError, match=r"is dict, not a qd\.App"):
        load_app(f"{name}:app")


def test_a_module_without_an_app_is_a_wrong_usage(write: Write) -> None:
    with pytest.raises(AppLoadError, match=r"has no qd\.App") as caught:
        load_app(write("x = 1\n"))
    assert caught.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("def f():\n    raise ValueError('v')\nf()\n", "ValueError: v"),
        ("def broken(:\n", "SyntaxError"),
        ("import sys\nsys.exit(4)\n", "SystemExit: 4"),
        ("import no_such_module_anywhere\n", "No module named 'no_such_module_anywhere'"),
    ],
)
def test_a_module_that_raises_is_a_failure_with_its_own_frames(
    write: Write, text: str, what: str
) -> None:
    name = write(text)
    with pytest.raises(AppLoadError) as caught:
        load_app(name)
    said = str(caught.value)
    assert caught.value.exit_code is ExitCode.FAILED
    assert said.startswith(f"importing {name} raised")
    assert what in said
    assert f"{name}.py" in said
    assert "importlib" not in said
    assert "loading.py" not in said


def test_a_missing_module_inside_a_package_is_missing_and_not_a_failure(write: Write) -> None:
    write("", inside="pack")
    with pytest.raises(AppLoadError, match=r"there is no module 'pack\.nothing'") as caught:
        load_app("pack.nothing")
    assert caught.value.exit_code is ExitCode.USAGE


def test_looking_for_a_module_runs_none_of_it(write: Write, tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("raise ValueError('must not run')\n")
    inside = write("raise ValueError('must not run')\n", inside="package")
    alone = write("raise ValueError('must not run')\n")
    spaced = write("raise ValueError('must not run')\n", inside="namespace")
    for name in (inside, alone, spaced, f"{alone}:app", "package", "qd.examples.shop"):
        check_module_exists(name)
    for name in ("package.nothing", "nothing", "namespace.nothing", f"{alone}.inside"):
        with pytest.raises(AppLoadError, match="there is no module") as caught:
            check_module_exists(name)
        assert caught.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize("reference", ["", ":app", ".tasks", "a..b", "shop/tasks.py", "a b"])
def test_what_is_no_module_name_is_a_wrong_usage(reference: str) -> None:
    for function in (load_app, check_module_exists):
        with pytest.raises(AppLoadError) as caught:
            function(reference)
        assert caught.value.exit_code is ExitCode.USAGE
        assert caught.value.hint
