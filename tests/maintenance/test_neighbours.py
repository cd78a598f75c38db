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


HOME = birthmark.of(os.getpid()).partition("\n")[0]
DEAD = f"{HOME}\n{NO_SUCH_PID}:5\n{NO_SUCH_PID + 1}:4"


async def held(lab: Lab, owner: str, host: str, birthmark: str) -> str:
    """A task held by a worker that shows itself as this."""
    task_id = await lab.pending()
    now = int(time.time())
    info = ServerInfo(host, 7, owner, 10, (("q", 1),), False, "active", now * 10**9, 1)
    await lab.link.execute_many(presence.write_server(info, [], now=now, birthmark=birthmark))
    await lab.take(owner=owner, lease_until=now + 15)
    return task_id


async def test_what_a_dead_process_of_this_machine_held_goes_back_and_one_loss_is_forgiven(
    lab: Lab,
) -> None:
    neighbours = Neighbours(lab.link, ["q"])
    task_id = await held(lab, "dead", HOST, DEAD)
    await neighbours.bury(time.time())
    assert lab.state(task_id) == "pending"
    assert lab.message(task_id).terms.retried == 0
    assert lab.field(task_id, "qd_deaths") is None
    assert lab.field(task_id, "qd_spared") == b"1"
    assert lab.field(task_id, "qd_cause") == b"died with its supervisor"


async def test_a_death_is_found_while_a_lease_may_last_though_the_process_is_shown_no_more(
    lab: Lab,
) -> None:
    task_id = await held(lab, "dead", HOST, DEAD)
    await Neighbours(lab.link, ["q"]).bury(time.time() + 14)
    assert lab.state(task_id) == "pending"


@pytest.mark.parametrize(
    ("host", "mark"),
    [
        (HOST, birthmark.of(os.getpid())),
        (HOST, f"{birthmark.of(os.getpid())}\n{NO_SUCH_PID}:5"),
        (HOST, f"{DEAD}\n{birthmark.of(os.getppid()).partition(chr(10))[2]}"),
        ("another-host", DEAD),
        (HOST, ""),
        (HOST, DEAD.replace(HOME, "another-boot pid:[1] time:[2]")),
        (HOST, f"{HOME}\n0:5"),
    ],
    ids=[
        "alive", "supervisor dead", "supervisor alive", "another host", "tells nothing",
        "another container", "no pid",
    ],
)  # fmt: skip
async def test_who_lives_or_may_live_or_is_told_of_by_others_keeps_his_tasks(
    lab: Lab, host: str, mark: str
) -> None:
    task_id = await held(lab, "w1", host, mark)
    await Neighbours(lab.link, ["q"]).bury(time.time())
    assert lab.state(task_id) == "active"
