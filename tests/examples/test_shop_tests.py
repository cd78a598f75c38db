"""The tests that ship with the example pass where a user copies them to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.procs import ROOT

pytest_plugins = ["pytester"]

# Each of them starts a pytest, which is slow on a busy machine.
pytestmark = pytest.mark.timeout(180)


def test_the_tests_of_the_shop_pass_in_a_project_of_their_own(pytester: pytest.Pytester) -> None:
    source = ROOT / "qd" / "examples" / "test_shop.py"
    (pytester.path / "test_shop.py").write_text(source.read_text())
    written = source.read_text().count("\ndef test_")
    result = pytester.runpytest_subprocess(
        "-p", "no:valkey", "-p", "no:hypothesispytest", "-n", "0"
    )
    assert written >= 8
    result.assert_outcomes(passed=written + 3)


def test_the_tests_of_the_readme_pass(pytester: pytest.Pytester) -> None:
    blocks = (ROOT / "README.md").read_text().split("```python\n")[1:]
    files = {block.split("\n", 1)[0]: block.split("```")[0] for block in blocks}
    for name in ("tasks.py", "test_tasks.py"):
        (pytester.path / name).write_text(files[f"# {name}"])
    result = pytester.runpytest_subprocess(
        "-p", "no:valkey", "-p", "no:hypothesispytest", "-n", "0"
    )
    written = files["# test_tasks.py"].count("\ndef test_")
    assert written >= 2
    result.assert_outcomes(passed=written)
    assert Path(pytester.path / ".qd").exists() is False
