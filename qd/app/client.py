"""The client as the settings describe it."""

from __future__ import annotations

from collections.abc import Callable

from qd.app.connection import Connection
from qd.broker.connect import open_async_link, open_link
from qd.client.client import AroundEnqueue, Client, defaults_from
from qd.client.compose import Composer
from qd.client.waiting import Waiting
from qd.config.model import Settings
from qd.handlers.options import NO_OPTIONS, TaskOptions


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
) -> Client:
    """Return a client; connections are opened when it is used."""
    return Client(
        make_composer(settings),
        link=lambda: open_link(connection.endpoint),
        async_link=lambda: open_async_link(connection.endpoint),
        waiting=Waiting(lambda: connection.endpoint),
        options_of=options_of,
        around=around,
    )
