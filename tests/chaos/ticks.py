"""The judge of periodic tasks: which ticks were enqueued, how often, and how late."""

from __future__ import annotations

import calendar
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import redis

from qd.protocol import codec, keys
from qd.protocol.ops.cron import entry_id
from tests.chaos.journal import Event


@dataclass
class Fired:
    """
    What became of the ticks of one entry, by their Unix seconds.

    `starts` has how late, in seconds, the task of each tick was started, once for each start;
    `noted` how often its enqueueing was noted in asynq's history. A scheduler that is killed right
    after a tick notes nothing.
    """

    starts: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    noted: Counter[int] = field(default_factory=Counter)

    def missed(self, first: float, last: float) -> list[int]:
        """The seconds in [first, last] for which nothing was started."""
        ticks = range(math.ceil(first), math.floor(last) + 1)
        return [tick for tick in ticks if tick not in self.starts]

    def doubled(self) -> list[int]:
        """The ticks that were enqueued, or whose tasks were started, more than once."""
        often = {tick for tick, starts in self.starts.items() if len(starts) > 1}
        return sorted(often | {tick for tick, times in self.noted.items() if times > 1})

    def late(self, first: float, last: float) -> list[float]:
        """How late the tasks of the ticks in [first, last] were started."""
        return [late for t, starts in self.starts.items() if first <= t <= last for late in starts]


def fired(client: redis.Redis, names: Iterable[str], events: Iterable[Event]) -> dict[str, Fired]:
    """Return what became of the ticks of each entry: by the journal, and by asynq's history."""
    found = {name: Fired() for name in names}
    to_unix = time.time() - time.monotonic()
    for event in events:
        if event.what == "start" and (parts := _parts(event.id)) and parts[0] in found:
            name, tick = parts
            found[name].starts[tick].append(event.at + to_unix - tick)
    for name, one in found.items():
        for blob in client.zrange(keys.scheduler_history(entry_id("", name)), 0, -1):
            parts = _parts(codec.decode_event(blob).task_id)
            if parts:
                one.noted[parts[1]] += 1
    return found


def _parts(task_id: str) -> tuple[str, int] | None:
    """Name and tick of `cron:NAME:2030-01-31T08:00:00Z`."""
    if not task_id.startswith("cron:"):
        return None
    name, _, moment = task_id.removeprefix("cron:").partition(":")
    return name, calendar.timegm(time.strptime(moment, "%Y-%m-%dT%H:%M:%SZ"))
