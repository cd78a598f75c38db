"""How long to wait before the next attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class RetryKind(StrEnum):
    EXPONENTIAL = "exponential"
    FIXED = "fixed"
    LIST = "list"
    ASYNQ = "asynq"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """
    A rule for delays, in seconds.

    *exponential*: `initial` times `factor` per retry used, at most `longest`. *fixed*: always
    `initial`. *list*: one after the other, the last one for ever. *asynq*: the formula of asynq's
    DefaultRetryDelayFunc, 15 s to days. `jitter` 0.1 spreads a delay by up to 10 % either way.
    """

    kind: RetryKind = RetryKind.EXPONENTIAL
    initial: float = 1.0
    factor: float = 2.0
    longest: float = 3600.0
    jitter: float = 0.0
    delays: tuple[float, ...] = ()

    def delay(self, retried: int, random: Callable[[], float]) -> float:
        """Return the seconds to wait after *retried* retries; *random* gives numbers in [0, 1)."""
        if self.kind is RetryKind.ASYNQ:
            return float(retried**4 + 15 + int(random() * 30) * (retried + 1))
        if self.kind is RetryKind.LIST and self.delays:
            delay = self.delays[min(retried, len(self.delays) - 1)]
        elif self.kind is RetryKind.EXPONENTIAL:
            try:
                delay = min(self.initial * self.factor**retried, self.longest)
            except OverflowError:
                delay = self.longest
        else:
            delay = self.initial
        return delay * (1 + self.jitter * (2 * random() - 1))
