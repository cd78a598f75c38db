"""Where the monitor listens."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from qd.app.monitoring import MonitorSockets
from qd.errors import ConfigError
from qd.monitor.listener import open_listener


def test_an_address_in_use_is_told_with_what_to_do() -> None:
    with open_listener("127.0.0.1:0") as first:
        port = first.getsockname()[1]
        with pytest.raises(
            ConfigError, match=f"cannot listen on 127.0.0.1:{port}: Address already"
        ):
            open_listener(f"127.0.0.1:{port}")


def test_a_socket_of_a_dead_process_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    address = f"unix://{tmp_path}/m.sock"
    open_listener(address).close()
    with open_listener(address), pytest.raises(ConfigError, match="in use"):
        open_listener(address)


def test_a_new_address_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    sockets = MonitorSockets()
    first = sockets.listener(f"unix://{tmp_path}/a.sock")
    assert sockets.listener(f"unix://{tmp_path}/a.sock") is first
    with pytest.raises(ConfigError):
        sockets.listener("unix:///nowhere/at/all.sock")
    assert first is not None
    assert first.fileno() > 0
    sockets.listener(f"unix://{tmp_path}/b.sock")
    assert not (tmp_path / "a.sock").exists()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{tmp_path}/b.sock")
    sockets.close()
    assert list(tmp_path.iterdir()) == []
