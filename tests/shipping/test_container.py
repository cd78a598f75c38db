"""The Dockerfile, as far as it can be tested without an engine that builds it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.procs import ROOT, running
from tests.support.servers import RedisServer, free_port


def instructions() -> list[tuple[str, str]]:
    """Name and argument of each instruction, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [
        (word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines) if word
    ]


def last_stage() -> dict[str, str]:
    """The last instruction of each kind in the stage that becomes the image."""
    every = instructions()
    begin = max(index for index, (word, _) in enumerate(every) if word == "FROM")
    return dict(every[begin:])


def test_the_image_does_not_run_as_root() -> None:
    user = last_stage()["USER"]
    assert user.isdigit()
    assert int(user) >= 10000


@pytest.mark.parametrize("word", ["ENTRYPOINT", "CMD"])
def test_no_shell_stands_between_the_engine_and_qd(word: str) -> None:
    """A shell as PID 1 would swallow TERM."""
    assert isinstance(json.loads(last_stage()[word]), list)


def test_the_engine_stops_it_with_the_signal_that_drains() -> None:
    assert last_stage()["STOPSIGNAL"] == "SIGTERM"


def test_pip_leaves_no_cache_behind() -> None:
    installs = [rest for word, rest in instructions() if word == "RUN" and "pip install" in rest]
    assert installs
    assert all("--no-cache-dir" in rest for rest in installs)


def test_only_what_the_package_is_built_from_reaches_the_engine() -> None:
    """Secrets, data and environments lie about in a checkout; .dockerignore starts with nothing."""
    patterns = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in patterns if line and not line.startswith("#")]
    assert patterns[0] == "*"
    allowed = {line.removeprefix("!") for line in patterns if line.startswith("!")}
    assert allowed == {"pyproject.toml", "README.md", "LICENSE", "qd"}
    assert all((ROOT / name).exists() for name in allowed)


@pytest.mark.process
def test_the_health_check_is_green_while_the_daemon_is_well_even_without_redis(
    server: RedisServer, tmp_path: Path
) -> None:
    stage = last_stage()
    command = json.loads(stage["HEALTHCHECK"].partition(" CMD ")[2])
    (address,) = re.findall(r"QD_MONITOR__ADDRESS=(\S+)", (ROOT / "Dockerfile").read_text())
    assert f"http://{address}/" in command[-1]
    # The port of the image may be taken on this machine.
    mine = f"127.0.0.1:{free_port()}"
    check = [sys.executable, *command[1:-1], command[-1].replace(address, mine)]

    def health() -> int:
        return subprocess.run(check, cwd=tmp_path, capture_output=True).returncode

    assert health() == 1
    words = ["worker", "--app", "qd.examples.shop", "--processes", "1", "--redis", server.url]
    env = {"SHOP_OUT": str(tmp_path), "QD_MONITOR__ADDRESS": mine}
    with running(sys.executable, "-m", "qd", *words, env=env) as worker:
        worker.err.wait("children are ready", within=15)
        assert health() == 0
        server.stop()
        worker.err.wait("waits|waiting for Redis", within=15)
        assert health() == 0
