"""
What Redis can answer instead of a reply, and what that means: one table of error classes.

Everything that leaves this package is a `BrokerError`; nobody else catches errors of the client
library.
"""

from __future__ import annotations

import re

from msgspec import Struct

from qd.broker.lean import exceptions
from qd.errors import BrokerError, BrokerFull, BrokerRefused, BrokerUnavailable
from qd.observability import tally


class Row(Struct, frozen=True):
    """One kind of refusal: its prefix, the error it becomes, whether to dial again, the hint."""

    prefix: str
    error: type[BrokerError]
    reconnect: bool
    hint: str


TABLE = (
    Row("LOADING", BrokerUnavailable, False, "Redis is loading its data; it will answer soon."),
    Row("MASTERDOWN", BrokerUnavailable, True, "The replica has lost its master."),
    Row("CLUSTERDOWN", BrokerUnavailable, True, "A part of the cluster has no master."),
    Row("TRYAGAIN", BrokerUnavailable, False, "The slot is being moved to another node."),
    Row("BUSY", BrokerUnavailable, False, "Another client's script blocks the server."),
    Row("MISCONF", BrokerUnavailable, False, "Redis cannot write to its disk; is it full?"),
    Row("NOREPLICAS", BrokerUnavailable, False, "Too few replicas are in step (min-replicas)."),
    Row("max number of clients", BrokerUnavailable, True, "Raise `maxclients` of the server."),
    Row("READONLY", BrokerUnavailable, True, "This server became a replica; dialling again."),
    Row("OOM", BrokerFull, False, BrokerFull.hint),
    Row("NOAUTH", BrokerRefused, True, "Set redis.username and redis.password (or a file)."),
    Row("WRONGPASS", BrokerRefused, True, "Check redis.username and redis.password."),
    Row("NOPERM", BrokerRefused, False, "The ACL user lacks a right; see `qd doctor`."),
    Row(
        "WRONGTYPE", BrokerRefused, False, "A key of the queue holds something else; who wrote it?"
    ),
    Row("MOVED", BrokerRefused, False, "A node of a cluster: write redis-cluster://HOST:PORT."),
)


_ADDRESS = re.compile(r"^Error -?\d+ connecting to \S+\. ")
"""What the client library says first, and the message of qd says anyway."""


def row_of(error: BaseException) -> Row | None:
    """Return the table's row for an error of the client library, if Redis sent it."""
    text = full_text(error).removeprefix("ERR ")
    return next((row for row in TABLE if text.startswith(row.prefix)), None)


def full_text(error: BaseException) -> str:
    """The error as Redis wrote it; the library cuts off the code that it knows."""
    code = getattr(error, "status_code", None)
    message = str(error)
    return message if not code or message.startswith(code) else f"{code} {message}"


def is_answer(error: BaseException) -> bool:
    """True if Redis sent this; False if the connection broke."""
    # LOADING, NOAUTH and others are connection errors to the library, but they are answers.
    return (
        isinstance(error, exceptions.ResponseError)
        or bool(getattr(error, "status_code", None))
        or "max number of clients" in str(error)
    )


def translate(error: BaseException, step: str, where: str) -> BrokerError:
    """Return the error of qd for an error of the client library, met in *step* at *where*."""
    row = row_of(error)
    counting = tally.current()
    if counting is not None:
        kind = row.prefix if row else "other" if is_answer(error) else "no answer"
        counting.add(tally.REDIS_ERRORS, kind)
    if row is not None:
        return row.error(f"{step}: Redis at {where} says: {full_text(error)}", hint=row.hint)
    if is_answer(error):
        return BrokerRefused(f"{step}: Redis at {where} says: {full_text(error)}")
    reason = _ADDRESS.sub("", str(error)) or type(error).__name__
    return BrokerUnavailable(f"{step}: no answer from Redis at {where}: {reason}")
