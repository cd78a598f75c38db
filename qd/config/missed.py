"""The policy for ticks that passed while no scheduler ran: `skip`, `once`, `all`, or `all(20)`."""

from __future__ import annotations

import re

from qd.config.kinds import TEXT, Kind

MOST_MISSED = 1000
"""Ticks that can be made up for at most."""

_USUAL = 100
_ALL = re.compile(r"all(?:\((\d{1,5})\))?", re.ASCII)


def most_missed(policy: str) -> int:
    """
    Return for how many missed ticks a policy makes up; the latest ones count.

    `all` alone is 100.

    Raises:
        ValueError: It is none of the policies; the message says what to write.
    """
    if policy in ("skip", "once"):
        return int(policy == "once")
    match = _ALL.fullmatch(policy)
    count = int(match[1] or _USUAL) if match else 0
    if not 1 <= count <= MOST_MISSED:
        raise ValueError(
            f'"{policy}" is not a policy for missed ticks; write skip, once, all, or all(20)'
            f" for the latest 20, up to {MOST_MISSED:,}"
        )
    return count


def _checked(policy: str) -> str:
    most_missed(policy)
    return policy


MISSED = Kind(lambda text: _checked(TEXT.parse(text)), lambda value: _checked(TEXT.native(value)))
