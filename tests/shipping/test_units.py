"""The systemd units: systemd accepts them, they close what can be closed, and they fit qd."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from qd.config.model import Settings
from qd.durations import seconds
from qd.errors import ExitCode
from qd.supervisor.state import Limits
from tests.support.procs import ROOT, running

UNITS = {name: ROOT / "systemd" / name for name in ("qd.service", "qd@.service")}
LARGEST_EXPOSURE = 1.5
"""Of 10; a unit without any of these settings has 9.6."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze on this machine"
)
each_unit = pytest.mark.parametrize("name", UNITS)


def settings(name: str) -> dict[str, str]:
    """The unit's settings; of one that is there several times, the last."""
    lines = UNITS[name].read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and line[0] not in "#[")


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=30)


@needs_systemd
@each_unit
def test_systemd_understands_every_line(name: str, tmp_path: Path) -> None:
    """`verify` wants the program to exist, so the one of these tests stands in."""
    installed = tmp_path / name.replace("@", "@shop")
    text = UNITS[name].read_text().replace("/opt/qd/bin/qd", sys.executable)
    installed.write_text(text)
    done = analyze("verify", str(installed))
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
@each_unit
def test_the_service_is_closed_to_what_a_worker_does_not_need(name: str) -> None:
    done = analyze("security", "--offline=true", "--no-pager", str(UNITS[name]))
    found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= LARGEST_EXPOSURE


@each_unit
def test_systemd_waits_longer_than_qd_needs_to_stop(name: str) -> None:
    needed = Settings().worker.shutdown_timeout + Limits().kill_margin
    assert seconds(settings(name)["TimeoutStopSec"] + "s") > needed + 5


@each_unit
def test_it_is_not_started_again_where_that_cannot_help(name: str) -> None:
    codes = settings(name)["RestartPreventExitStatus"].split()
    assert codes == [str(int(ExitCode.USAGE)), str(int(ExitCode.CONFIG))]


@each_unit
def test_the_command_is_one_that_qd_has(name: str) -> None:
    words = settings(name)["ExecStart"].split()
    assert words[0] == "/opt/qd/bin/qd"
    done = subprocess.run(
        [sys.executable, "-m", "qd", *words[1:]], cwd=ROOT, capture_output=True, text=True
    )
    # The file is not there, and that is all it complains of.
    assert done.returncode == ExitCode.CONFIG
    assert words[-1] in done.stderr


def test_the_template_differs_from_the_unit_only_by_the_instance() -> None:
    """They are edited together, or one of them grows old."""

    def body(name: str) -> str:
        return UNITS[name].read_text().split("[Unit]")[1]

    template = body("qd@.service")
    for with_instance, without in {
        " (%i)": "",
        "/etc/qd/%i.yaml": "/etc/qd/qd.yaml",
        "/etc/qd/%i.redis_password": "/etc/qd/redis_password",
        "qd/%i": "qd",
    }.items():
        assert with_instance in template
        template = template.replace(with_instance, without)
    assert template == body("qd.service")


@pytest.mark.process
def test_the_worker_says_what_type_notify_and_the_watchdog_wait_for(
    redis_url: str, tmp_path: Path
) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.settimeout(15)
        env = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "500000", "SHOP_OUT": str(tmp_path)}
        words = ["worker", "--app", "qd.examples.shop", "--processes", "1", "--redis", redis_url]
        with running(sys.executable, "-m", "qd", *words, env={**os.environ, **env}) as worker:
            _until(systemd, "READY=1")
            for _ in range(3):
                _until(systemd, "WATCHDOG=1")
            worker.signal(signal.SIGTERM)
            _until(systemd, "STOPPING=1")
            assert worker.wait(within=15) == 0


def _until(systemd: socket.socket, wanted: str) -> None:
    """Read messages until one has the wanted line; the socket's timeout ends a wait in vain."""
    while wanted not in systemd.recv(4096).decode().split("\n"):
        pass
