"""
What one command works with: settings, connection, inspector and client, each made on first use.

Commands get it as their first argument from `with_session`, which also closes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import click

from qd.cli.frame import Flags, flags_of
from qd.cli.output import Output
from qd.errors import QueueNotFound
from qd.suggest import did_you_mean

if TYPE_CHECKING:
    from qd.app.connection import Connection
    from qd.broker.link import Link
    from qd.client.client import Client
    from qd.config.load import Loaded
    from qd.config.model import Settings
    from qd.handlers.options import TaskOptions
    from qd.inspector.inspector import Inspector

P = ParamSpec("P")
R = TypeVar("R")


class Session:
    """
    The parts of one invocation. Nothing is read or opened before it is asked for.

    Without `start_server` the private server is used only if it is running.
    """

    def __init__(self, flags: Flags, *, start_server: bool = True) -> None:
        self.flags = flags
        self._start_server = start_server
        self.out = Output(flags)
        self._closing = ExitStack()

    @cached_property
    def loaded(self) -> Loaded:
        """
        The settings of file, environment and flags, with their origins.

        Raises:
            ConfigError: All problems at once.
        """
        return self._load()

    def reload(self) -> Settings:
        """Read the configuration again, as it is now; `settings` stays what it was."""
        return self._load().settings

    @property
    def settings(self) -> Settings:
        """The settings that apply; `loaded` also knows where each came from."""
        return self.loaded.settings

    @cached_property
    def connection(self) -> Connection:
        """Knows where Redis is; starts the private server if none is configured."""
        from qd.app.connection import Connection

        user = person() if self.settings.timeline.keep else ""
        connection = Connection(
            self.settings, self.out.say, say_joined=False, user=user, start=self._start_server
        )
        self._closing.callback(connection.close)
        return connection

    @cached_property
    def link(self) -> Link:
        """
        A link to Redis. Nothing is sent before it is used.

        Raises:
            ConfigError: `redis.enabled` is false, or production without an address.
            BrokerUnavailable: The private server cannot be started.
        """
        endpoint = self.connection.endpoint
        from qd.broker.connect import open_link

        link = open_link(endpoint)
        self._closing.callback(link.close)
        return link

    @cached_property
    def inspector(self) -> Inspector:
        """The operator's view of the same Redis."""
        link = self.link
        from qd.inspector.inspector import Inspector

        return Inspector(link)

    @cached_property
    def client(self) -> Client:
        """A client that enqueues with the options of the settings."""
        connection = self.connection
        from qd.app.client import make_client

        client = make_client(self.settings, connection, self.options_of)
        self._closing.callback(client.close)
        return client

    def options_of(self, task_type: str) -> TaskOptions:
        """Return the options that the settings have for one task type."""
        from qd.handlers.options import NO_OPTIONS, TaskOptions

        overrides = self.settings.tasks.get(task_type)
        if overrides is None:
            return NO_OPTIONS
        return TaskOptions(
            queue=overrides.queue,
            max_retry=overrides.max_retry,
            timeout=overrides.timeout,
            retention=overrides.retention,
        )

    def stored(self, queue: str) -> str:
        """Return a queue's name as it stands in Redis: with the configured prefix."""
        return self.settings.queue_prefix + queue

    def queues(self) -> list[str]:
        """Return the stored names of all queues that carry the configured prefix."""
        prefix = self.settings.queue_prefix
        return [name for name in self.inspector.queues.names() if name.startswith(prefix)]

    def chosen(self, queues: Sequence[str]) -> list[str]:
        """
        Return the stored names of queues that were typed; of all queues if none was.

        Raises:
            QueueNotFound: One does not exist; the message names the nearest that does.
        """
        known = self.queues()
        if not queues:
            return known
        prefix = self.settings.queue_prefix
        for queue in queues:
            if self.stored(queue) not in known:
                suggestion = did_you_mean(queue, [name.removeprefix(prefix) for name in known])
                raise QueueNotFound(
                    f'There is no queue "{self.stored(queue)}".{suggestion}',
                    hint="A queue appears with its first task; `qd queue ls` lists them.",
                )
        return [self.stored(queue) for queue in dict.fromkeys(queues)]

    def _load(self) -> Loaded:
        from qd.config.load import load

        return load(
            self.flags.config,
            overrides=self.flags.overrides,
            sets=self.flags.sets,
            env=os.environ,
            cwd=Path.cwd(),
        )

    def close(self) -> None:
        """Close what was opened; a private server that nobody else uses then stops."""
        self._closing.close()


def person() -> str:
    """Return the name of the person at this terminal, for others to see."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"


def with_session(command: Callable[Concatenate[Session, P], R]) -> Callable[P, R]:
    """Give a command its session as the first argument, and close it afterwards."""

    @wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        session = Session(flags_of(click.get_current_context()))
        try:
            return command(session, *args, **kwargs)
        finally:
            session.close()

    return wrapper
