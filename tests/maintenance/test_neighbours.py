"""Tasks of processes of this machine that died with their supervisor: handed back if that is certain."""

from __future__ import annotations

import os
import socket
import time

import pytest

from qd import birthmark
from qd.maintenance.neighbours import Neighbours
from qd.protocol.message import ServerInfo
from qd.protocol.ops import presence
from tests.maintenance.lab import Lab

HOST = socket.gethostname()
NO_SUCH_PID = 2**22 + 1
"""Above the largest that Linux gives (proc(5): pid_max)."""


def mark() -> str:
    return birthmark.of_this_process()


async def held(lab: Lab, owner: str, host: str, pid: int, birthmark: str) -> str:
    """A task held by a worker that shows itself as this."""
    task_id = await lab.pending()
    now = int(time.time())
    info = ServerInfo(host, pid, owner, 10, (("q", 1),), False, "active", now * 10**9, 1)
    await lab.link.execute_many(presence.write_server(info, [], now=now, birthmark=birthmark))
    await lab.take(owner=owner, lease_until=now + 15)
    return task_id


async def test_what_a_dead_process_of_this_machine_held_goes_back_and_one_loss_is_forgiven(
    lab: Lab,
) -> None:
    neighbours = Neighbours(lab.link, ["q"])
    task_id = await held(lab, "dead", HOST, NO_SUCH_PID, mark())
    await neighbours.bury(time.time())
    assert lab.state(task_id) == "pending"
    assert lab.message(task_id).terms.retried == 0
    assert lab.field(task_id, "qd_deaths") is None
    assert lab.field(task_id, "qd_spared") == b"1"
    assert lab.field(task_id, "qd_cause") == b"died with its supervisor"


async def test_a_death_is_found_while_a_lease_may_last_though_the_process_is_shown_no_more(
    lab: Lab,
) -> None:
    task_id = await held(lab, "dead", HOST, NO_SUCH_PID, mark())
    await Neighbours(lab.link, ["q"]).bury(time.time() + 14)
    assert lab.state(task_id) == "pending"


@pytest.mark.parametrize(
    ("host", "pid", "home"),
    [
        (HOST, os.getpid(), "{own}"),
        ("another-host", NO_SUCH_PID, "{own}"),
        (HOST, NO_SUCH_PID, ""),
        (HOST, NO_SUCH_PID, "another-boot pid:[1] time:[2] 5"),
        (HOST, 0, "{own}"),
    ],
    ids=["alive", "another host", "tells nothing", "another container", "no pid"],
)
async def test_who_lives_or_may_live_keeps_his_tasks(
    lab: Lab, host: str, pid: int, home: str
) -> None:
    task_id = await held(lab, "w1", host, pid, home.format(own=mark()))
    await Neighbours(lab.link, ["q"]).bury(time.time())
    assert lab.state(task_id) == "active"
