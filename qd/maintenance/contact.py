"""
Tells whether leases may be judged: an outage of Redis must not pass for the death of all workers.

While Redis does not answer, nobody can renew a lease; when it is back, all may have run out. So whoever
judges them waits until their holders have had the time to renew.
"""

from __future__ import annotations

import math

from qd.protocol import constants

_LATE = 1.0
"""A look later than this (seconds): Redis was away, its clock jumped, or this machine stood still."""

_TIME_TO_RENEW = constants.HEARTBEAT + 1.0
"""Seconds in which every worker that lives renews its leases once Redis answers."""


class Contact:
    """
    With one server, or the one that has a queue. Times are Unix seconds by the clock of Redis.

    *long* says that there has been contact for long enough already.
    """

    def __init__(self, *, long: bool = False) -> None:
        self._next_at = math.inf if long else 0.0
        self._judges_from = 0.0

    def may_judge(self, now: float) -> bool:
        """Say whether a lease that has run out by *now* means that its holder is gone."""
        if now - self._next_at > _LATE:
            self._judges_from = now + _TIME_TO_RENEW
        # A clock that was set back must not make this wait for the time it showed before.
        return not self._judges_from - _TIME_TO_RENEW <= now < self._judges_from

    def looked(self, next_at: float) -> None:
        """There was an answer; the next look will be at *next_at*."""
        self._next_at = next_at
