"""`qd stats`: all queues, their sums, and Redis, at one glance."""

from __future__ import annotations

import click

from qd.cli.frame import Command
from qd.cli.queue import columns
from qd.cli.render import plural, rough, size
from qd.cli.session import Session, with_session


@click.command(
    "stats",
    cls=Command,
    short_help="Show how much is waiting, running and failing.",
    examples=("qd stats", "qd stats --json", "qd stats -o plain"),
)
@with_session
def stats(session: Session) -> None:
    """
    Show how much is waiting, running and failing.

    All queues with the number of tasks in each state, their sums, and the state of Redis. With
    --output plain: the sums, one a line.
    """
    view = session.inspector.stats.overview()
    names = set(session.queues())
    queues = [one for one in view.queues if one.name in names]
    totals = {name: sum(getattr(one, name) for one in queues) for name in view.totals}
    redis = view.redis
    document = {
        "queues": [one.as_dict() for one in queues],
        "totals": totals,
        "redis": redis.as_dict(),
    }
    if session.out.form != "table":
        session.out.one("qd.stats/1", "stats", document, dict(totals))
        return
    if queues:
        session.out.table(queues, columns())
        click.echo()
    limit = f" of {size(redis.memory_max)}" if redis.memory_max else ""
    today = f"{totals['processed']} processed today, {totals['failed']} failed"
    click.echo(f"{plural(len(queues), 'queue')}, {plural(totals['size'], 'task')}; {today}")
    if totals["refused"] or totals["dropped"]:
        click.echo(
            f"No room in their queue: {totals['refused']} refused, {totals['dropped']} dropped, ever"
        )
    click.echo(
        f"Redis {redis.version} {redis.mode}, up {rough(redis.uptime)}, "
        f"{plural(redis.clients, 'client')}, {size(redis.memory)}{limit}"
    )
