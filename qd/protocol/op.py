"""
An operation as a value: what to send to Redis and how to read the answer.

Operations are built by the pure functions in `ops/` and carried out by a link (`broker.link`,
`broker.async_link`), synchronously or not. That is why no operation is written twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from msgspec import Struct

from qd.protocol.scripts import Script

T = TypeVar("T")
Argument = str | bytes | int | float


class Op(Struct, Generic[T], frozen=True):
    """
    One step on Redis: a script or a plain command. Atomic by itself.

    `keys[0]` decides the node on a cluster (empty: any node). `repeatable` says that sending it a
    second time, after an answer was lost, changes nothing more and gives a usable answer.
    """

    name: str
    script: Script | None
    keys: Sequence[str | bytes]
    args: Sequence[Argument]
    parse: Callable[[Any], T]
    repeatable: bool = True


def script(
    source: Script,
    keys: Sequence[str | bytes],
    args: Sequence[Argument],
    parse: Callable[[Any], T],
    *,
    repeatable: bool = True,
) -> Op[T]:
    """Return the operation that runs a script; a wrong number of keys is refused here."""
    if source.key_count is not None and len(keys) != source.key_count:
        raise ValueError(f"{source.name} takes {source.key_count} keys, not {len(keys)}")
    return Op(source.name, source, keys, args, parse, repeatable)


def command(
    name: str,
    keys: Sequence[str | bytes],
    args: Sequence[Argument],
    parse: Callable[[Any], T],
    *,
    repeatable: bool = True,
) -> Op[T]:
    """Return the operation that sends one plain command: name, keys, then arguments."""
    return Op(name, None, keys, args, parse, repeatable)


def text(value: Any) -> str:
    """Return a reply as text; ids and names are UTF-8, anything else is shown escaped."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
