"""
What an unfinished word on a command line may become: names that stand in Redis.

Each function is the `shell_complete` of an option or argument. It looks at the beginning of long
lists only, and offers no more than fit on a screen. What fails here is dropped by `completion.py`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import wraps
from typing import TYPE_CHECKING, TypeAlias

import click

from qd.cli.frame import flags_of
from qd.cli.session import Session

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Completer: TypeAlias = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]
Look: TypeAlias = Callable[[Session, click.Context], Iterable[tuple[str, str]]]

_PATIENCE = 0.1
"""Seconds that a shell waits for Redis."""

_MOST = 100
_DEEP = 2000
"""Tasks of one state among which an id is looked for."""


def _completer(*parts: str) -> Callable[[Look], Completer]:
    """
    Turn what yields values, each with an explanation, into a `shell_complete`.

    `parts` are those of the inspector that it asks: their imports are not the time of Redis.
    """

    def decorate(look: Look) -> Completer:
        @wraps(look)
        def complete(
            ctx: click.Context, parameter: click.Parameter, incomplete: str
        ) -> list[CompletionItem]:
            from click.shell_completion import CompletionItem

            given = ctx.params.get(parameter.name or "") or ()
            found: dict[str, CompletionItem] = {}
            with closing(Session(flags_of(ctx), start_server=False)) as session:
                for part in parts:
                    getattr(session.inspector, part)
                with _limit():
                    for value, text in look(session, ctx):
                        if value.startswith(incomplete) and value not in given:
                            found.setdefault(value, CompletionItem(value, help=text))
                        if len(found) >= _MOST:
                            break
            return list(found.values())

        return complete

    return decorate


@contextmanager
def _limit() -> Iterator[None]:
    """End this process silently if Redis, or a name service before it, does not answer at once."""
    timer = threading.Timer(_PATIENCE, os._exit, (0,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@_completer("queues")
def queues(session: Session, ctx: click.Context) -> Iterator[tuple[str, str]]:
    """Names of queues, as they are typed: without the configured prefix."""
    prefix = session.settings.queue_prefix
    for name in session.queues():
        yield name.removeprefix(prefix), ""


@_completer("queues")
def dead_queues(session: Session, ctx: click.Context) -> Iterator[tuple[str, str]]:
    """Names of queues that have dead tasks."""
    prefix, mine = session.settings.queue_prefix, set(session.queues())
    for view in session.inspector.queues.all():
        if view.archived and view.name in mine:
            yield view.name.removeprefix(prefix), f"{view.archived} dead"


def task_ids(*states: str) -> Completer:
    """Return what offers the ids of tasks in these states, of the queues that were named."""

    def look(session: Session, ctx: click.Context) -> Iterator[tuple[str, str]]:
        from qd.protocol.state import TaskState

        chosen = ctx.params.get("state")
        named = ctx.params.get("queues") or ctx.params.get("queue") or ()
        names = session.chosen((named,) if isinstance(named, str) else named)
        for state in [TaskState(one) for one in ((chosen,) if chosen else states)]:
            for name in names:
                for task_id in session.inspector.tasks.ids(name, state, limit=_DEEP):
                    yield task_id, f"{state.value} in {name}"

    return _completer("queues", "tasks")(look)


@_completer("servers")
def types(session: Session, ctx: click.Context) -> Iterator[tuple[str, str]]:
    """Types that the live worker processes have handlers for."""
    for server in session.inspector.servers.list():
        for name in server.types or ():
            yield name, f"{server.host}:{server.pid}"


@_completer("periodic")
def entries(session: Session, ctx: click.Context) -> Iterator[tuple[str, str]]:
    """Names of periodic tasks."""
    for one in session.inspector.periodic.all(session.settings.queue_prefix):
        yield one.name, f"{one.spec} {one.type}"


@_completer("servers")
def servers(session: Session, ctx: click.Context) -> Iterator[tuple[str, str]]:
    """Ids of worker processes."""
    for one in session.inspector.servers.list():
        yield one.id, f"{one.host}:{one.pid} {one.status}"


@_completer("servers")
def hosts(session: Session, ctx: click.Context) -> Iterator[tuple[str, str]]:
    """Hosts with worker processes, and the ids of these."""
    for one in session.inspector.servers.list():
        yield one.host, "all processes of this host"
        yield one.id, f"{one.host}:{one.pid} {one.status}"


@_completer("queues", "groups")
def groups(session: Session, ctx: click.Context) -> Iterator[tuple[str, str]]:
    """Groups in which tasks wait."""
    for queue in session.chosen(ctx.params.get("queues") or ()):
        for name in session.inspector.groups.names(queue):
            yield name, f"in {queue}"


@_completer()
def settings(session: Session, ctx: click.Context) -> Iterator[tuple[str, str]]:
    """Sections and keys of the configuration."""
    from qd.config.dump import dump, flatten

    keys = list(flatten(dump(session.settings, session.loaded.origins)))
    for section in dict.fromkeys(key.partition(".")[0] for key in keys):
        yield section, ""
    for key in keys:
        yield key, ""


def schemas(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Shapes of JSON documents; nobody has to be asked."""
    from click.shell_completion import CompletionItem

    from qd.cli.schemas import load

    return [
        CompletionItem(one.name, help=one.command)
        for one in load().all()
        if one.name.startswith(incomplete)
    ]
