"""Groups of tasks that wait to be aggregated into one."""

from __future__ import annotations

import builtins
from collections.abc import Callable

from qd.broker.link import Link
from qd.errors import NotFound
from qd.inspector.known import require_queue
from qd.inspector.views import GroupView
from qd.protocol.ops import inspect_queues
from qd.suggest import did_you_mean


class Groups:
    """The groups of a queue. `clock` gives Unix seconds."""

    def __init__(self, link: Link, clock: Callable[[], float]) -> None:
        self._link = link
        self._clock = clock

    def list(self, queue: str) -> builtins.list[GroupView]:
        """
        Return the groups of a queue by name, with the tasks that wait in each.

        Tasks that are being aggregated at this moment are in none. Raises QueueNotFound.
        """
        require_queue(self._link, queue)
        return [GroupView(name, size) for name, size in sorted(self.sizes(queue).items())]

    def names(self, queue: str) -> builtins.list[str]:
        """Return the names of the groups in which tasks wait."""
        return sorted(name for name, size in self.sizes(queue).items() if size)

    def sizes(self, queue: str) -> dict[str, int]:
        """Return every listed group with the number of its tasks, read in pieces."""
        sizes: dict[str, int] = {}
        cursor = "0"
        while True:
            cursor, some = self._link.execute(inspect_queues.group_sizes(queue, cursor))
            sizes |= some
            if cursor == "0":
                return sizes

    def flush(self, queue: str, group: str) -> int:
        """
        Let a group be merged at the next look of an aggregator, without waiting for more tasks.

        Returns how many tasks are in it. A task that comes in meanwhile makes the group wait for its
        grace period again. Safe to repeat. Merging needs a scheduler process whose application has
        an aggregator for the group.

        Raises:
            QueueNotFound, NotFound: No such queue, or no task waits in such a group.
        """
        size = next((one.size for one in self.list(queue) if one.name == group), 0)
        if not size:
            names = self.names(queue)
            raise NotFound(
                f'No task waits in a group "{group}" of queue "{queue}".'
                f"{did_you_mean(group, names)}",
                hint="`qd group ls` lists the groups.",
            )
        until = int(self._clock()) + 1
        while self._link.execute(inspect_queues.flush_group(queue, group, until=until)):
            pass
        return size
