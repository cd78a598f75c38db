"""Which limits a task is under, and what it counts for there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from qd.config.limits import LimitSettings
from qd.errors import ConfigError
from qd.handlers.paths import short_key, value_at
from qd.handlers.routing import Router
from qd.protocol.message import TaskMessage
from qd.protocol.ops.limits import Bounds
from qd.suggest import did_you_mean


class Limit(Struct, frozen=True):
    """One limit: what it allows, the tasks it is for, and by what they are told apart."""

    bounds: Bounds
    settings: LimitSettings
    router: Router
    queue_prefix: str

    @property
    def name(self) -> str:
        return self.bounds.name

    def concerns(self, task_type: str, queue: str) -> bool:
        """True if tasks of this type in this queue are under it."""
        handler = self.router.find(task_type)
        if handler is not None and self.name in handler.limits:
            return True
        if any(fits(pattern, task_type) for pattern in self.settings.types):
            return True
        return any(queue == self.queue_prefix + name for name in self.settings.queues)

    def key_of(self, message: TaskMessage, queue: str) -> str:
        """What the task counts for: empty for all alike, else type, queue or what `key` leads to."""
        parts = {"type": [message.type], "queue": [queue]}.get(self.settings.per, [])
        if self.settings.key:
            parts.append(value_at(self.settings.key, message))
        return short_key(" ".join(parts))

    def turn_of(self, message: TaskMessage) -> str:
        """With whom the task takes turns while it waits; empty where everybody stands in one line."""
        path = self.settings.fair_by
        return "=" + short_key(value_at(path, message)) if path else ""


def limits_of(
    settings: Mapping[str, LimitSettings], router: Router, queue_prefix: str
) -> list[Limit]:
    """
    Return the limits, in the order of the configuration.

    Raises:
        ConfigError: A handler names one that is not configured.
    """
    for handler in router:
        check_names(handler.pattern, handler.limits, settings)
    return [
        Limit(Bounds(name, one.rate, one.burst, one.concurrency), one, router, queue_prefix)
        for name, one in settings.items()
    ]


def check_names(pattern: str, names: Sequence[str], known: Iterable[str]) -> None:
    """Refuse names of limits that are not configured."""
    for name in names:
        if name not in known:
            hint = did_you_mean(name, list(known))
            raise ConfigError(
                [
                    f'the handler of {pattern} is under the limit "{name}", which does not exist.{hint}'
                ],
                hint=f"Describe it in the configuration: limits: {{{name}: {{concurrency: 4}}}}",
            )


def fits(pattern: str, task_type: str) -> bool:
    """True if a task type is *pattern*, or begins with what stands before its star."""
    if pattern.endswith("*"):
        return task_type.startswith(pattern[:-1])
    return task_type == pattern
