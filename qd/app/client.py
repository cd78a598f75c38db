"""The client as the settings describe it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from qd.app.connection import Connection
from qd.broker.connect import open_async_link, open_link
from qd.client.client import AroundEnqueue, Client, defaults_from
from qd.client.compose import Composer
from qd.client.waiting import Waiting
from qd.config.model import Settings
from qd.handlers.options import NO_OPTIONS, TaskOptions

if TYPE_CHECKING:
    from qd.client.room import OnPressure, QueueBounds


def make_composer(settings: Settings) -> Composer:
    """Return the composer with the defaults, the prefix and the limit of the settings."""
    defaults = settings.defaults
    return Composer(
        defaults_from(defaults.queue, defaults.max_retry, defaults.timeout, defaults.retention),
        queue_prefix=settings.queue_prefix,
        payload_limit=settings.payload_limit,
    )


def make_client(
    settings: Settings,
    connection: Connection,
    options_of: Callable[[str], TaskOptions] = lambda _: NO_OPTIONS,
    around: AroundEnqueue | None = None,
    on_pressure: Sequence[OnPressure] = (),
    may_be_poll: Callable[[str], bool] = lambda _: True,
) -> Client:
    """Return a client; connections are opened when it is used."""
    return Client(
        make_composer(settings),
        link=lambda: open_link(connection.endpoint),
        async_link=lambda: open_async_link(connection.endpoint),
        waiting=Waiting(lambda: connection.endpoint),
        options_of=options_of,
        around=around,
        bounds=make_bounds(settings, on_pressure),
        may_be_poll=may_be_poll,
    )


def make_bounds(settings: Settings, hooks: Sequence[OnPressure] = ()) -> QueueBounds | None:
    """Return the bounds of queues that the settings have, None if there are none."""
    if not settings.backpressure.used:
        return None
    from qd.client.room import QueueBounds, Rule
    from qd.protocol.ops.pressure import Marks

    def rule_of(stored: str) -> Rule | None:
        own = settings.backpressure.of(stored.removeprefix(settings.queue_prefix))
        if not own.enabled:
            return None
        marks = Marks(
            warning=max(1, round(own.max_size * own.warning)),
            critical=max(1, round(own.max_size * own.critical)),
            margin=round(own.max_size * own.hysteresis),
        )
        return Rule(marks, own.max_size, own.policy, own.wait)

    return QueueBounds(rule_of, hooks)
