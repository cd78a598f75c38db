"""The totals of everything, and the state of Redis itself."""

from __future__ import annotations

from qd.broker.link import Link
from qd.inspector.queues import Queues
from qd.inspector.views import OverviewView, RedisView
from qd.protocol.ops import inspect_presence

_SUMMED = (
    "size",
    "pending",
    "active",
    "scheduled",
    "retry",
    "archived",
    "completed",
    "aggregating",
    "orphaned",
    "processed",
    "failed",
    "processed_total",
    "failed_total",
    "refused",
    "dropped",
)


class Stats:
    """All queues and Redis at one glance."""

    def __init__(self, link: Link, queues: Queues) -> None:
        self._link = link
        self._queues = queues

    def overview(self, *, memory: bool = False) -> OverviewView:
        """Return every queue, the sums of their counts, and what Redis says about itself."""
        queues = tuple(self._queues.all(memory=memory))
        totals = {name: sum(getattr(one, name) for one in queues) for name in _SUMMED}
        return OverviewView(queues, totals, self.redis())

    def redis(self) -> RedisView:
        """Return version, memory and clients of Redis; on a cluster, of one of its nodes."""
        info = self._link.execute(inspect_presence.redis_info())
        return RedisView(
            version=info.get("valkey_version") or info.get("redis_version", ""),
            mode=info.get("redis_mode") or info.get("server_mode", ""),
            uptime=int(info.get("uptime_in_seconds", 0)),
            clients=int(info.get("connected_clients", 0)),
            memory=int(info.get("used_memory", 0)),
            memory_peak=int(info.get("used_memory_peak", 0)),
            memory_max=int(info.get("maxmemory", 0)),
            eviction=info.get("maxmemory_policy", ""),
        )
