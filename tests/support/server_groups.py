"""Several real servers that belong together: a cluster, and a master with sentinels."""

from __future__ import annotations

from typing import Any, Self

import redis

from tests.support.servers import RedisServer, free_port
from tests.support.wait import eventually


class ClusterNode(RedisServer):
    """A server that can meet others in a cluster; `bus` is the port on which they talk."""

    def __init__(self) -> None:
        super().__init__("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", tcp=True)
        self.bus = 0

    def _choose_ports(self) -> None:
        super()._choose_ports()
        # The default, port + 10000, may be taken or above 65535.
        self.bus = free_port()

    def _listen(self) -> list[str]:
        return [*super()._listen(), "--cluster-port", str(self.bus)]


class ClusterServers:
    """A cluster of three masters on loopback, all slots assigned."""

    _SLOTS = ((0, 5460), (5461, 10922), (10923, 16383))

    def __init__(self) -> None:
        self.nodes: list[ClusterNode] = []

    @property
    def addrs(self) -> list[str]:
        return [f"127.0.0.1:{node.port}" for node in self.nodes]

    def client(self, **options: Any) -> redis.RedisCluster:
        """A new client for keys on any node that does not decode; close it."""
        return redis.RedisCluster(
            host="127.0.0.1", port=self.nodes[0].port, **{"protocol": 2, **options}
        )

    def start(self) -> Self:
        for epoch, (first, last) in enumerate(self._SLOTS, start=1):
            node = ClusterNode()
            self.nodes.append(node)
            node.start()
            node.command("CLUSTER", "ADDSLOTSRANGE", first, last)
            # Equal epochs would first have to be told apart in a vote.
            node.command("CLUSTER", "SET-CONFIG-EPOCH", epoch)
        for node in self.nodes[1:]:
            self.nodes[0].command("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus)
        eventually(self.ready, within=20)
        return self

    def ready(self) -> bool:
        """Whether every node knows a living owner for each slot."""
        return all(
            {b"cluster_state:ok", b"cluster_slots_assigned:16384"}
            <= set(node.command("CLUSTER", "INFO").splitlines())
            for node in self.nodes
        )

    def reset(self) -> None:
        """All nodes are running and empty, whatever a test has done to them."""
        for node in self.nodes:
            node.reset()
        eventually(self.ready, within=20)

    def close(self) -> None:
        for node in self.nodes:
            node.close()


class SentinelServers:
    """
    A master, its replica and sentinels that hand over within about three seconds.

    One sentinel decides fastest: several may split their votes, and vote again seconds later.
    """

    name = "qd-test"

    def __init__(self, sentinels: int = 1) -> None:
        self._wanted = sentinels
        self.data: list[RedisServer] = []
        self.sentinels: list[RedisServer] = []

    @property
    def addrs(self) -> list[str]:
        """Of the sentinels."""
        return [f"127.0.0.1:{node.port}" for node in self.sentinels]

    def start(self) -> Self:
        fast = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
        master = RedisServer(*fast, tcp=True).start()
        self.data.append(master)
        follow = ("--replicaof", "127.0.0.1", str(master.port))
        self.data.append(RedisServer(*fast, *follow, tcp=True).start())
        # A sentinel asks a master for its replicas when it starts, and then after ten seconds.
        eventually(self._linked, within=20)
        quorum = self._wanted // 2 + 1
        # Sentinels ping once a second; with less than that to answer, healthy masters are deposed.
        config = (
            f"sentinel monitor {self.name} 127.0.0.1 {master.port} {quorum}\n"
            f"sentinel down-after-milliseconds {self.name} 1500\n"
            f"sentinel failover-timeout {self.name} 3000\n"
        )
        for _ in range(self._wanted):
            sentinel = RedisServer("--sentinel", tcp=True, config=config)
            self.sentinels.append(sentinel.start())
        eventually(self.ready, within=20)
        return self

    def master(self) -> RedisServer:
        """The server that the first sentinel calls the master now."""
        _, port = self.sentinels[0].command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)
        return next(node for node in self.data if node.port == int(port))

    def ready(self) -> bool:
        """Whether a hand-over would succeed: all sentinels agree, and the replica is in step."""
        wanted = {b"num-slaves": 1, b"num-other-sentinels": self._wanted - 1}
        views = [_pairs(node.command("SENTINEL", "MASTER", self.name)) for node in self.sentinels]
        return (
            all(int(view[key]) == count for view in views for key, count in wanted.items())
            and all(view[b"flags"] == b"master" for view in views)
            and len({view[b"port"] for view in views}) == 1
            and self._linked()
        )

    def reset(self) -> None:
        """All are running, one follows the other, and nothing is stored, whatever a test did."""
        for node in (*self.data, *self.sentinels):
            if node.alive:
                node.resume()
            elif node in self.sentinels or not any(data.alive for data in self.data):
                node.start()
        # A hand-over that a test has brought about may still be under way.
        eventually(lambda: self.master().alive, within=20)
        master = self.master()
        for node in self.data:
            if node is not master:
                if not node.alive:
                    node.start()
                # The sentinels would do it too, but wait eight seconds first.
                node.command("REPLICAOF", "127.0.0.1", master.port)
        eventually(self.ready, within=20)
        master.flush()

    def close(self) -> None:
        for node in (*self.sentinels, *self.data):
            node.close()

    def _linked(self) -> bool:
        lines = [
            line
            for node in self.data
            for line in node.command("INFO", "replication").splitlines()
            if line in (b"role:master", b"master_link_status:up")
        ]
        return sorted(lines) == [b"master_link_status:up", b"role:master"]


def _pairs(reply: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(reply[::2], reply[1::2], strict=True))
