"""What `pip install` gives to people: built, installed and tried apart from this checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import qd
from tests.support.procs import ROOT

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from no more than what .dockerignore lets through."""
    folder = tmp_path_factory.mktemp("build")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "qd", folder / "qd", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", "dist", "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = (folder / "dist").iterdir()
    return built


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    here = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "qd").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == here
    assert "qd/protocol/lua/dequeue.lua" in names
    assert "qd/examples/orders.jsonl" in names
    assert "qd/py.typed" in names


def test_the_licence_goes_with_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (licence,) = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()


def test_the_installed_command_runs_and_finds_its_data(wheel: Path, tmp_path: Path) -> None:
    """The dependencies are those of this environment; qd itself must come from the wheel."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    site = next(venv.glob("lib/python3*/site-packages"))
    python = str(venv / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, "-q", str(wheel)], check=True)
    env = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}
    program = venv / "bin" / "qd"

    def run(*words: str) -> str:
        return subprocess.check_output([program, *words], cwd=tmp_path, env=env, text=True)

    assert qd.__version__ in run("--version")
    assert "qd worker --app" in run("worker", "--help")
    run("worker", "--app", "qd.examples.shop", "--check")
    where = subprocess.check_output(
        [python, "-c", "import qd.protocol.scripts as s; print(s.__file__)"],
        cwd=tmp_path, env=env, text=True,
    )  # fmt: skip
    assert Path(where.strip()).is_relative_to(site)
