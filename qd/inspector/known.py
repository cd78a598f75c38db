"""Refuse names of queues that do not exist, with the name that was probably meant."""

from __future__ import annotations

from qd.broker.link import Link
from qd.errors import QueueNotFound
from qd.protocol.ops import inspect_queues
from qd.suggest import did_you_mean


def require_queue(link: Link, queue: str) -> None:
    """
    Return if the queue exists: if it was ever written to.

    Raises:
        QueueNotFound: It does not; the message proposes a name that is near.
    """
    if link.execute(inspect_queues.exists(queue)):
        return
    names = link.execute(inspect_queues.names())
    nearest = did_you_mean(queue, names)
    raise QueueNotFound(
        f'There is no queue "{queue}".{nearest}',
        hint="A queue appears when the first task is enqueued to it; `qd queue ls` lists them.",
    )
