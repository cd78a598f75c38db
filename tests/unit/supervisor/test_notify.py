"""What systemd's environment variables mean."""

from __future__ import annotations

import os

import pytest

from qd.supervisor.notify import Notifier


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_watchdog_is_told_twice_as_often_as_systemd_demands(
    environ: dict[str, str], interval: float | None
) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": "@nobody", **environ})
    assert notifier.watchdog_interval == interval


def test_children_do_not_inherit_what_is_meant_for_the_parent() -> None:
    environ = {"NOTIFY_SOCKET": "@nobody", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}
    Notifier.from_environment(environ)
    assert environ == {"HOME": "/"}


def test_nobody_listening_is_no_error() -> None:
    Notifier("/nowhere/at/all").ready()
    Notifier().ready()
