"""The settings of queues with an upper bound."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import asdict, replace

from qd.config.kinds import DURATION, NUMBER, QUEUE, SWITCH, WHOLE, choice
from qd.config.setting import entries, optional, setting


class Bound(Struct, frozen=True):
    """The bound of one queue."""

    enabled: bool = setting(False, "true: queues are bounded", SWITCH)
    max_size: int = setting(
        10_000, "pending, scheduled, retried and running tasks of one queue", WHOLE, minimum=1
    )
    warning: float = setting(
        0.7, "share of max_size from which on the level is warning", NUMBER, minimum=0, maximum=1
    )
    critical: float = setting(
        0.9,
        "share of max_size from which on new tasks are refused; the rest is for retries, ticks and "
        "what operators bring back",
        NUMBER,
        minimum=0,
        maximum=1,
    )
    hysteresis: float = setting(
        0.05, "share of max_size below a mark at which its level ends", NUMBER, minimum=0, maximum=1
    )
    policy: str = setting(
        "refuse",
        "what becomes of a task that finds no room",
        choice("refuse", "wait", "drop"),
    )
    wait: float = setting(
        5.0, "wait: refuse it after this time", DURATION, minimum=0.1, also=("timeout",)
    )


class BoundOverrides(Struct, frozen=True):
    """What differs for one queue; None where it follows `backpressure`."""

    enabled: bool | None = optional(Bound, "enabled")
    max_size: int | None = optional(Bound, "max_size")
    warning: float | None = optional(Bound, "warning")
    critical: float | None = optional(Bound, "critical")
    hysteresis: float | None = optional(Bound, "hysteresis")
    policy: str | None = optional(Bound, "policy")
    wait: float | None = optional(Bound, "wait")


class BackpressureSettings(Bound, frozen=True):
    """What becomes of new tasks when a queue has too many."""

    interval: float = setting(
        30.0, "how often the scheduler looks for a level that has changed", DURATION, minimum=0.1
    )
    queues: Mapping[str, BoundOverrides] = entries(
        BoundOverrides, "What differs by queue, named without the prefix.", name=QUEUE
    )

    def of(self, queue: str | None) -> Bound:
        """Return the bound of a queue (its name without the prefix), or that of all others."""
        shared = Bound(**{name: getattr(self, name) for name in Bound.__struct_fields__})
        own = self.queues.get(queue) if queue is not None else None
        if own is None:
            return shared
        given = {name: value for name, value in asdict(own).items() if value is not None}
        return replace(shared, **given)

    @property
    def used(self) -> bool:
        """True if some queue is bounded."""
        return self.enabled or any(one.enabled for one in self.queues.values())
