"""The Redis of the settings, opened once per application; qd's own server where none is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from qd.broker.connect import endpoint_of
from qd.broker.endpoint import Endpoint
from qd.config.model import Settings
from qd.config.rules import require_redis
from qd.protocol.timeline import Timeline

if TYPE_CHECKING:
    from qd.broker.embedded import EmbeddedServer


class Connection:
    """
    Knows the endpoint, and holds up qd's own server as long as it is open.

    *announce* is told, once, that there is such a server and where; without *say_joined* only if it
    was started for this. *user* is noted in the timeline, if one is kept. Without *start* one that
    is running is used, and not held up.
    """

    def __init__(
        self,
        settings: Settings,
        announce: Callable[[str], None] | None = None,
        *,
        say_joined: bool = True,
        user: str = "",
        start: bool = True,
    ) -> None:
        self._settings = settings
        self._announce = announce
        self._say_joined = say_joined
        self._user = user
        self._start = start
        self._endpoint: Endpoint | None = None
        self._server: EmbeddedServer | None = None

    @property
    def endpoint(self) -> Endpoint:
        """
        The endpoint; starts or joins qd's own server if no address is configured.

        Raises:
            ConfigError: `redis.enabled` is false, or production without an address.
            BrokerUnavailable: The own server does not start, or does not run and must not be started.
        """
        if self._endpoint is None:
            require_redis(self._settings)
            socket_path = None
            if not self._settings.redis.addrs and not self._start:
                from qd.broker.embedded import running_socket

                socket_path = running_socket(Path(self._settings.redis.embedded_dir))
            elif not self._settings.redis.addrs:
                from qd.broker.embedded import acquire

                self._server = acquire(Path(self._settings.redis.embedded_dir))
                socket_path = self._server.socket_path
                news = self._server.started or self._say_joined
                if news and self._announce is not None:
                    verb = "started" if self._server.started else "using"
                    self._announce(
                        f"no Redis configured: {verb} qd's own server in "
                        f"{self._settings.redis.embedded_dir} (data is kept there)"
                    )
            self._endpoint = with_timeline(
                endpoint_of(self._settings.redis, socket_path), self._settings, self._user
            )
        return self._endpoint

    def use(self, endpoint: Endpoint) -> None:
        """Use an endpoint that somebody else, the parent process, has found and holds up."""
        self._endpoint = endpoint

    def close(self) -> None:
        """Let go of the own server; it ends with its last user."""
        server, self._server, self._endpoint = self._server, None, None
        if server is not None:
            server.close()


def with_timeline(endpoint: Endpoint, settings: Settings, user: str = "") -> Endpoint:
    """Return *endpoint* so that its links note what they move, if the settings say so."""
    wanted = settings.timeline
    if not wanted.keep:
        return replace(endpoint, timeline=None)
    return replace(endpoint, timeline=Timeline(wanted.keep, wanted.most, wanted.header, user))
