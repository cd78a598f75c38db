"""`qd breaker`: which circuit breakers are open, who waits behind them, and how to close one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from qd.cli.frame import Group
from qd.cli.render import Cell, Column, plural
from qd.cli.session import Session, with_session

if TYPE_CHECKING:
    from qd.inspector.views import BreakerView


@click.command(
    "breaker",
    cls=Group,
    short_help="List circuit breakers, close one by hand.",
    examples=("qd breaker ls", "qd breaker reset sms", "qd breaker reset sms --key voda"),
)
def breaker() -> None:
    """
    List circuit breakers, close one by hand.

    Breakers stand in the configuration, under `breakers`; they hold over all hosts and queues. Tasks
    behind an open one are shown as scheduled.
    """


@breaker.command("ls", examples=("qd breaker ls", "qd breaker ls --json"))
@with_session
def ls(session: Session) -> None:
    """
    List the breakers that workers know, with their state.

    A breaker with keys has a line for each key that has failures or is not closed. FAILURES are those
    in a row; those that opened it, once it is open.
    """
    columns: list[Column[BreakerView]] = [
        Column("BREAKER", lambda one: one.name),
        Column("KEY", lambda one: one.key or "-"),
        Column("STATE", lambda one: one.state),
        Column("FAILURES", lambda one: one.failures),
        Column("SINCE", lambda one: one.since),
        Column("UNTIL", lambda one: one.until),
        Column("TRYING", lambda one: one.trying),
        Column("WAITING", lambda one: one.waiting),
        Column("TYPES", _types),
    ]
    session.out.rows(
        "qd.breaker.ls/1",
        "breakers",
        session.inspector.breakers.list(),
        columns,
        lambda one: one.as_dict(),
        empty="No worker knows a breaker; they stand in the configuration, under `breakers`.",
    )


def _types(view: BreakerView) -> Cell:
    return ", ".join(view.types) or None


@breaker.command("reset", examples=("qd breaker reset sms", "qd breaker reset sms --key voda"))
@click.argument("name")
@click.option("--key", metavar="KEY", help="Only for this key; else for all of them.")
@with_session
def reset(session: Session, name: str, key: str | None) -> None:
    """
    Close a breaker, for all workers, at once.

    Its failures are forgotten, and the tasks that wait behind it go to the head of their queues. If
    what they need still fails, it opens again. Resetting a closed breaker changes nothing else.
    """
    keys = session.inspector.breakers.reset(name, key)
    of_keys = f" for {plural(len(keys), 'key')}" if any(keys) else ""
    text = f"{name} is closed{of_keys}" if keys else f"{name} was closed already"
    session.out.result("qd.breaker.reset/1", {"breaker": name, "keys": keys}, text, "\n".join(keys))
