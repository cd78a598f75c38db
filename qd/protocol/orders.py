"""
Orders to one worker process, sent through asynq's channel for cancellations.

What asynq sends there is the id of a task. A Go server looks an order up among the tasks it runs and
finds none, so an order needs neither a channel nor rights of its own.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from qd import jsoncodec
from qd.protocol import keys


class Verb(StrEnum):
    QUIET = "quiet"
    RESUME = "resume"
    STOP = "stop"
    STACK = "stack"


class Order(Struct, frozen=True):
    """
    What the worker process *server_id* shall do.

    For `stack`: of which task, and under which key it leaves the answer. STOP is meant for the whole
    `qd worker` that the process belongs to, which would only replace a single one.
    """

    verb: Verb
    server_id: str
    task_id: str = ""
    reply_key: str = ""


def encode(order: Order) -> str:
    return keys.ORDER_MARK + jsoncodec.dumps(order).decode()


def decode(message: str) -> Order | None:
    """Return the order in a message of the channel; None if it is a task id, or of another version."""
    if not message.startswith(keys.ORDER_MARK):
        return None
    try:
        fields = jsoncodec.loads(message[len(keys.ORDER_MARK) :])
        return Order(**(fields | {"verb": Verb(fields["verb"])}))
    except (ValueError, TypeError, KeyError):
        return None
