"""The front of the operator's side: one object with a part for each kind of thing."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from qd import clock as wall
from qd.broker.link import Link
from qd.inspector.breakers import Breakers
from qd.inspector.groups import Groups
from qd.inspector.limits import Limits
from qd.inspector.queues import Queues
from qd.inspector.schedulers import Schedulers
from qd.inspector.servers import Servers
from qd.inspector.stats import Stats
from qd.inspector.tasks import Tasks

if TYPE_CHECKING:
    from qd.inspector.periodic import Periodic
    from qd.inspector.timeline import TimelineReader


class Inspector:
    """
    Look at everything that is in Redis, and intervene.

    It only holds the link, so it may be shared between threads if the link may. Every method raises
    the `BrokerError` that fits when Redis does not answer or refuses.

    Args:
        link: Where to; the caller closes it.

        clock: The present as Unix seconds.
    """

    def __init__(self, link: Link, *, clock: Callable[[], float] = lambda: wall.now()) -> None:
        self.groups = Groups(link, clock)
        self.tasks = Tasks(link, clock)
        self.queues = Queues(link, self.tasks, self.groups, clock)
        self.servers = Servers(link, clock)
        self.schedulers = Schedulers(link, clock)
        self.stats = Stats(link, self.queues)
        self.limits = Limits(link)
        self.breakers = Breakers(link, clock)
        self._link = link
        self._clock = clock

    @cached_property
    def timeline(self) -> TimelineReader:
        """What was noted of the way of each task; made on first use."""
        from qd.inspector.timeline import TimelineReader

        return TimelineReader(self._link)

    @cached_property
    def periodic(self) -> Periodic:
        """Periodic tasks; made on first use, for all that composes tasks is imported with it."""
        from qd.inspector.periodic import Periodic

        return Periodic(self._link, self.schedulers, self._clock)
