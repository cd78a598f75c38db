"""
When a poll looks again, and when it gives up.

A poll is a task that is to look at something from time to time until it is done. A *look* is a run of its
handler that has said so: done, or not yet. A run that failed is repeated by the rules for retries.
"""

from __future__ import annotations

from msgspec import Struct

from qd.durations import format_duration
from qd.policy.outcome import Action, Outcome, storable

GAVE_UP = "gave up after "
"""How the error of a poll begins that has given up."""

_DOUBLED = 64
"""Delays are doubled so often at the most: no number of looks is too large."""


class PollRules(Struct, frozen=True):
    """
    How often a poll looks, in seconds.

    The first delay is `initial`, each further one twice as long, up to `longest`. It gives up
    `give_up_after` its first look; 0: never.
    """

    initial: float = 3.0
    longest: float = 10.0
    give_up_after: float = 0.0

    def delay(self, looks: int) -> float:
        """Return the seconds until the next look, after *looks* (1 or more) that said not yet."""
        return min(self.initial * 2.0 ** min(max(looks - 1, 0), _DOUBLED), self.longest)


class Polling(Struct, frozen=True):
    """
    What a poll remembers from run to run: the `looks` that said not yet, `since` when it looks, and `until`
    when, in Unix seconds. An `until` of 0 is for ever.
    """

    looks: int = 0
    since: float = 0.0
    until: float = 0.0


def remember(rules: PollRules, before: Polling | None, *, started: float, looked: bool) -> Polling:
    """Return what a poll knows after a run that began at *started*; *looked* if it said not yet."""
    since = started if before is None else before.since
    looks = 0 if before is None else before.looks
    until = since + rules.give_up_after if rules.give_up_after else 0.0
    return Polling(looks + looked, since, until)


def not_yet(
    rules: PollRules, polling: Polling, note: str, *, now: float, delay: float | None = None
) -> Outcome:
    """
    Return what becomes of a poll whose look has just said not yet, with a *note*.

    *delay* replaces that of the rules. The last look is at `until`: a poll gives up after a look that was
    late enough, never without it.
    """
    if polling.until and now >= polling.until:
        looks = "1 look" if polling.looks == 1 else f"{polling.looks:,} looks"
        took = format_duration(round(now - polling.since))
        return Outcome(Action.ARCHIVE, storable(f"{GAVE_UP}{looks} in {took}: {note}"))
    wait = rules.delay(polling.looks) if delay is None else delay
    if polling.until:
        wait = min(wait, polling.until - now)
    return Outcome(Action.RETRY, note, wait, is_failure=False)
