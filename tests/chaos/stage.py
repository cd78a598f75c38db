"""What every scene is given: a server of its own, a folder, chance that can be repeated, a profile."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import redis

from tests.chaos import dump, invariants
from tests.chaos.fleet import Fleet, fleet
from tests.chaos.journal import Journal
from tests.chaos.judge import Fault, Verdict, judge
from tests.chaos.producer import Producer
from tests.chaos.watch import Watch
from tests.support.servers import RedisServer


@dataclass(frozen=True)
class Profile:
    """How much of everything. *name* is short or full."""

    name: str
    kills: int
    tasks: int
    rounds: int
    outage_tasks: int
    poison_tasks: int
    frozen: float
    pending: int
    restarts: int
    deaths: int
    limit_seconds: int
    limit_kills: int
    limit_others: int
    limit_rounds: int
    grouped: int
    group_kills: int
    links: int
    side_by_side: int
    link_kills: int


SHORT = Profile(
    "short", 60, 10_000, 3, 300, 300, 16.0, 2_000, 4, 40, 3, 10, 1_000, 1, 2_000, 5, 250, 200, 10
)
FULL = Profile(
    "full",
    500,
    100_000,
    30,
    1_000,
    5_000,
    45.0,
    10_000,
    20,
    1_000,
    60,
    200,
    20_000,
    3,
    100_000,
    50,
    10_000,
    1_000,
    100,
)


class Measure(NamedTuple):
    """A line of the table. *ok* is None for a figure without a target."""

    name: str
    target: str
    measured: str
    ok: bool | None


class Stage:
    """
    One scene's surroundings; `with` starts them and ends all that is left.

    `server` is a Redis on a unix socket and a port; `client` a redis-py on it.
    """

    def __init__(
        self, profile: Profile, seed: int, folder: Path, *server_args: str, **changes: Any
    ) -> None:
        self.profile = replace(profile, **changes)
        self.random = random.Random(seed)
        self.folder = folder
        self.server = RedisServer(*server_args, tcp=True)
        self._stack = ExitStack()
        self._journals: list[Journal] = []
        self._watch: Watch | None = None

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._stack.enter_context(self.server)
        self.client: redis.Redis = self._stack.enter_context(self.server.client())
        self.producer = Producer(self.server.url)
        self._stack.callback(self.producer.close)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_watching()
        self._stack.close()

    def fleet(self, url: str | None = None, **settings: Any) -> Fleet:
        """Hosts of this scene's server, or of *url*, a relay in front of it; ended with the scene."""
        made = self._stack.enter_context(fleet(url or self.server.url, self.folder, **settings))
        self._journals.append(made.journal)
        if self._watch is None:
            self._watch = Watch(self.server)
        return made

    def say(self, text: str) -> None:
        """Tell whoever watches how far it is; on stderr, for stdout is the table."""
        print(f"  {text}", file=sys.stderr, flush=True)

    def unsettled(self, queue: str = "default") -> int:
        """How many tasks of a queue are neither ended nor in the dead letters."""
        pipeline = self.client.pipeline()
        for name in ("pending", "active"):
            pipeline.llen(f"asynq:{{{queue}}}:{name}")
        for name in ("scheduled", "retry"):
            pipeline.zcard(f"asynq:{{{queue}}}:{name}")
        return sum(pipeline.execute())

    def verdict(self, fleet: Fleet, faults: Sequence[Fault], **more: float) -> Verdict:
        """What became of all that was acknowledged; *more* as for `judge`."""
        found = dump.read(self.client)
        return judge(self.producer.acked, fleet.journal.runs(), faults, found, **more)

    def broken(self, **also: Any) -> list[str]:
        """The breaches of the invariants in what the server holds now, and while a fleet was at work."""
        fallen = self._stop_watching()
        if self._watch is not None:
            self.say(f"looked {self._watch.looks} times for what may never fall")
        events = (event for journal in self._journals for event in journal.events())
        ended = {event.id for event in events if event.what == "end"}
        found = invariants.check(self.client, acked=self.producer.acked, ended=ended, **also)
        return [*found, *fallen]

    def _stop_watching(self) -> list[str]:
        if self._watch is None:
            return []
        return self._watch.stop()


def percentile(values: Collection[float], share: float) -> float:
    """The smallest value that at least this share of all does not exceed; NaN without any."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def milliseconds(values: Collection[float]) -> str:
    """p50, p99 and the largest of some seconds, as text."""
    parts = (percentile(values, 0.5), percentile(values, 0.99), max(values, default=math.nan))
    return " / ".join(f"{1000 * part:,.0f}" for part in parts) + " ms"
