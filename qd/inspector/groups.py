"""Groups of tasks that wait to be aggregated into one."""

from __future__ import annotations

import builtins

from qd.broker.link import Link
from qd.inspector.known import require_queue
from qd.inspector.views import GroupView
from qd.protocol.ops import inspect_queues


class Groups:
    """The groups of a queue."""

    def __init__(self, link: Link) -> None:
        self._link = link

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
