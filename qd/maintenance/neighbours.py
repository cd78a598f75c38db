"""
Hands back what worker processes of this machine held that died together with their supervisor.

Nobody was left to tell of such a death, but it can be proven from here. Where it cannot, the leases
run out, and the recoverer takes the tasks.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from qd import birthmark
from qd.broker.async_link import AsyncLink
from qd.maintenance.orphans import hand_back
from qd.protocol import constants, keys
from qd.protocol.ops import inspect_presence

_CAUSE = "died with its supervisor"


class Neighbours:
    """
    Looks for worker processes that have shown themselves under the name of this host and are dead.

    One whose supervisor lives is left to that: it knows which tasks were running, and why it died.
    """

    def __init__(self, link: AsyncLink, queues: Sequence[str]) -> None:
        self._link = link
        self._queues = queues
        self._host = socket.gethostname()
        self._buried: set[str] = set()

    async def bury(self, now: float) -> None:
        """
        Hand back the tasks of those that are certainly dead, at *now* (Unix seconds).

        What each was running is not known any more: the death is counted for all that it held, as
        one that others may be to blame for.

        Raises:
            BrokerError: Redis is away or refuses; nobody was looked at.
        """
        # A lease may outlive the last sign of life by this much.
        names = await self._link.execute(
            inspect_presence.server_keys(now=int(now) - constants.LEASE)
        )
        named = f"{keys.SERVERS}:{{{self._host}:"
        known = [one for one in names if one.startswith(named)]
        marks = await self._link.execute_many(
            [inspect_presence.read_birthmark(one) for one in known]
        )
        for name, mark in zip(known, marks, strict=True):
            owner = name.rstrip("}").rpartition(":")[2]
            if owner not in self._buried and birthmark.all_dead(mark):
                await hand_back(self._link, self._queues, owner, _CAUSE, None, killed=True)
                self._buried.add(owner)
