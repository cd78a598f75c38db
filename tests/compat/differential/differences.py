"""What is not the same in two databases, down to single fields, members and ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.compat.differential.store import PREFIX, View, same_ttl


@dataclass(frozen=True)
class Difference:
    """
    One thing, as asynq has it and as qd has it; None is "not there".

    `key` is the whole key, `part` a field, a member, an id of a list, or "value", "order", "type",
    "ttl" of the key itself, which begin with a colon.
    """

    key: str
    part: str
    asynq: Any
    qd: Any

    @property
    def name(self) -> str:
        """The key's part after the queue."""
        return self.key.removeprefix(PREFIX)

    @property
    def task(self) -> str:
        """The id of the task it is about, or ""."""
        if self.name.startswith("t:"):
            return self.name[2:]
        return "" if self.part.startswith(":") else self.part


def differences(asynq: View, qd: View, slack: float) -> list[Difference]:
    """
    All of them. *slack* is how many seconds TTLs may differ more than usual: as long as the sequence
    has taken so far, for asynq's client computes the TTL of a delayed lock with the real clock.
    """
    found: list[Difference] = []
    for key in sorted(asynq.keys() | qd.keys()):
        left, right = asynq.get(key), qd.get(key)
        if left != right:
            found += _of_key(key, left, right, slack)
    return found


def _of_key(
    key: str, left: dict[str, Any] | None, right: dict[str, Any] | None, slack: float
) -> Iterator[Difference]:
    kind = (left or right or {})["type"]
    if left and right:
        if left["type"] != right["type"]:
            yield Difference(key, ":type", left["type"], right["type"])
            return
        if not same_ttl(left["ttl"], right["ttl"], slack):
            yield Difference(key, ":ttl", left["ttl"], right["ttl"])
    mine, theirs = left and left["value"], right and right["value"]
    if kind == "string":
        if mine != theirs:
            yield Difference(key, ":value", mine, theirs)
    elif kind == "list":
        yield from _of_list(key, mine or [], theirs or [])
    else:
        if kind == "set":
            mine, theirs = dict.fromkeys(mine or (), 1), dict.fromkeys(theirs or (), 1)
        for part in sorted((mine or {}).keys() | (theirs or {}).keys()):
            one, other = (mine or {}).get(part), (theirs or {}).get(part)
            if one != other:
                yield Difference(key, part, one, other)


def _of_list(key: str, mine: list[str], theirs: list[str]) -> Iterator[Difference]:
    one, other = Counter(mine), Counter(theirs)
    for member in sorted(one.keys() | other.keys()):
        if one[member] != other[member]:
            yield Difference(key, member, one[member] or None, other[member] or None)
    common = one & other
    left = [member for member in mine if member in common]
    right = [member for member in theirs if member in common]
    if left != right and Counter(left) == Counter(right):
        yield Difference(key, ":order", left, right)
