"""Which circuit breakers a task is behind, and what it counts for there."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from qd.config.breakers import BreakerSettings
from qd.handlers.limit import fits
from qd.handlers.paths import short_key, value_at
from qd.protocol.message import TaskMessage
from qd.protocol.ops.breakers import Rules


class Breaker(Struct, frozen=True):
    """One breaker: its rules, the types it is for, and by what its tasks are told apart."""

    rules: Rules
    settings: BreakerSettings

    def concerns(self, task_type: str) -> bool:
        """True if tasks of this type are behind it."""
        return any(fits(pattern, task_type) for pattern in self.settings.types)

    def key_of(self, message: TaskMessage) -> str:
        """What the task counts for: what `key` leads to; empty for all alike."""
        return short_key(value_at(self.settings.key, message)) if self.settings.key else ""


def breakers_of(settings: Mapping[str, BreakerSettings]) -> list[Breaker]:
    """Return the breakers, in the order of the configuration."""
    return [
        Breaker(
            Rules(
                name,
                failures=one.failures,
                share=one.ratio,
                runs=one.runs,
                window=one.window,
                open=one.open,
                tries=one.probes,
                successes=one.successes,
            ),
            one,
        )
        for name, one in settings.items()
    ]
