"""The inspector on a Redis Cluster: queues on different nodes, one answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from qd.broker.connect import open_link
from qd.broker.endpoint import parse_addresses
from qd.broker.link import Link
from qd.inspector.inspector import Inspector
from qd.protocol.message import ServerInfo
from qd.protocol.ops import presence, tasks
from qd.protocol.ops.tasks import NewTask
from qd.protocol.state import TaskState
from tests.inspector.stored import NOW
from tests.support.server_groups import ClusterServers

QUEUES = [f"q{n}" for n in range(6)]


@pytest.fixture
def cluster_link(cluster: ClusterServers) -> Iterator[Link]:
    with closing(open_link(parse_addresses(cluster.addrs))) as link:
        yield link


def test_everything_works_over_several_nodes(cluster_link: Link) -> None:
    inspector = Inspector(cluster_link, clock=lambda: float(NOW))
    for queue in QUEUES:
        cluster_link.execute(tasks.announce([queue]))
        cluster_link.execute(
            tasks.enqueue(queue, [NewTask(f"{queue}-t", b"\x0a\x01x")], now_ns=NOW * 10**9)
        )
    info = ServerInfo("host", 1, "id", 1, (("q0", 1),), False, "active", NOW * 10**9, 0)
    cluster_link.execute_many(presence.write_server(info, [], now=NOW))

    overview = inspector.stats.overview(memory=True)
    assert [one.name for one in overview.queues] == QUEUES
    assert overview.totals["pending"] == 6
    assert overview.redis.mode == "cluster"
    assert inspector.tasks.find("q3-t").queue == "q3"
    assert [one.id for one in inspector.servers.list()] == ["id"]
    assert len(inspector.queues.history("q0", 2)) == 2
    assert inspector.tasks.cancel("q3-t") == 0
    for queue in QUEUES:
        inspector.tasks.archive(queue, f"{queue}-t")
        assert [one.id for one in inspector.tasks.list(queue, TaskState.ARCHIVED)] == [f"{queue}-t"]
        assert inspector.tasks.run_all(queue, TaskState.ARCHIVED) == 1
        assert inspector.queues.remove(queue, force=True) == 1
    assert inspector.queues.names() == []
