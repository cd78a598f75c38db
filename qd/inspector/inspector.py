"""The front of the operator's side: one object with a part for each kind of thing."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from qd import clock as wall
from qd.protocol.flow import place_in

if TYPE_CHECKING:
    from qd.broker.link import Link
    from qd.inspector.breakers import Breakers
    from qd.inspector.flows import Flows, PlaceView
    from qd.inspector.groups import Groups
    from qd.inspector.limits import Limits
    from qd.inspector.periodic import Periodic
    from qd.inspector.queues import Queues
    from qd.inspector.schedulers import Schedulers
    from qd.inspector.servers import Servers
    from qd.inspector.stats import Stats
    from qd.inspector.tasks import Tasks
    from qd.inspector.timeline import TimelineReader
    from qd.inspector.views import TaskView


class Inspector:
    """
    Look at everything that is in Redis, and intervene.

    It only holds the link, so it may be shared between threads if the link may. Every method raises
    the `BrokerError` that fits when Redis does not answer or refuses. Each part is imported on first
    use, for a command needs one or two of them, and imports are most of its time.

    Args:
        link: Where to; the caller closes it.

        clock: The present as Unix seconds.
    """

    def __init__(self, link: Link, *, clock: Callable[[], float] = lambda: wall.now()) -> None:
        self._link = link
        self._clock = clock

    @cached_property
    def queues(self) -> Queues:
        """Whole queues: sizes and counters; pause, purge, remove."""
        from qd.inspector.queues import Queues

        return Queues(self._link, lambda: self.tasks, self.groups, self._clock)

    @cached_property
    def tasks(self) -> Tasks:
        """Tasks in any state, one by one or many."""
        from qd.inspector.tasks import Tasks

        return Tasks(self._link, self._clock)

    @cached_property
    def groups(self) -> Groups:
        """Groups of tasks that wait to be merged."""
        from qd.inspector.groups import Groups

        return Groups(self._link, self._clock)

    @cached_property
    def servers(self) -> Servers:
        """The worker processes of all hosts."""
        from qd.inspector.servers import Servers

        return Servers(self._link, self._clock)

    @cached_property
    def schedulers(self) -> Schedulers:
        """What schedulers publish of their entries."""
        from qd.inspector.schedulers import Schedulers

        return Schedulers(self._link, self._clock)

    @cached_property
    def periodic(self) -> Periodic:
        """Periodic tasks, whoever has declared them."""
        from qd.inspector.periodic import Periodic

        return Periodic(self._link, self.schedulers, self._clock)

    @cached_property
    def stats(self) -> Stats:
        """All queues and Redis at one glance."""
        from qd.inspector.stats import Stats

        return Stats(self._link, self.queues)

    @cached_property
    def limits(self) -> Limits:
        """Limits, who runs under them and who waits."""
        from qd.inspector.limits import Limits

        return Limits(self._link)

    @cached_property
    def breakers(self) -> Breakers:
        """Circuit breakers."""
        from qd.inspector.breakers import Breakers

        return Breakers(self._link, self._clock)

    @cached_property
    def flows(self) -> Flows:
        """Chains and gathers, and where they stand."""
        from qd.inspector.flows import Flows

        return Flows(self._link)

    def place_in_flow(self, task: TaskView) -> PlaceView | None:
        """Return where a task stands in its flow; None for one of no flow, or if that is forgotten."""
        is_link = place_in(task.id, task.headers) is not None
        return self.flows.place(task) if is_link else None

    @cached_property
    def timeline(self) -> TimelineReader:
        """What was noted of the way of each task."""
        from qd.inspector.timeline import TimelineReader

        return TimelineReader(self._link)
