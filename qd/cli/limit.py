"""`qd limit`: how often tasks may start, how many at a time, who waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from qd.cli.frame import Group
from qd.cli.render import Cell, Column
from qd.cli.session import Session, with_session
from qd.cli.types import StartRate

if TYPE_CHECKING:
    from qd.inspector.views import LimitView


@click.command(
    "limit",
    cls=Group,
    short_help="List limits, show who waits at them, set them for now.",
    examples=("qd limit ls", "qd limit show stripe", "qd limit set stripe --rate 60/min"),
)
def limit() -> None:
    """
    List limits, show who waits at them, set them for now.

    Limits stand in the configuration, under `limits`; they hold over all hosts and queues. Tasks that
    must wait are shown as scheduled.
    """


@limit.command("ls", examples=("qd limit ls", "qd limit ls --json"))
@with_session
def ls(session: Session) -> None:
    """
    List the limits that workers know, with what runs and what waits.

    A star stands behind what was set by hand.
    """
    columns: list[Column[LimitView]] = [
        Column("LIMIT", lambda one: one.name),
        Column("RATE", lambda one: _rate(one)),
        Column("BURST", lambda one: _marked(one, "burst", one.burst)),
        Column("AT A TIME", lambda one: _marked(one, "concurrency", one.concurrency or "any")),
        Column("FOR EACH", _each),
        Column("RUNNING", lambda one: one.running),
        Column("WAITING", lambda one: one.waiting),
    ]
    session.out.rows(
        "qd.limit.ls/1",
        "limits",
        session.inspector.limits.list(),
        columns,
        lambda one: one.as_dict(),
        empty="No worker knows a limit; they stand in the configuration, under `limits`.",
    )


@limit.command("show", examples=("qd limit show stripe", "qd limit show stripe --json"))
@click.argument("name")
@with_session
def show(session: Session, name: str) -> None:
    """
    Show one limit: which tasks have its slots, and how many wait for each key.

    Of many slots and keys, the first thousand are shown.
    """
    view, shown = session.inspector.limits.show(name)
    facts: dict[str, Cell] = {
        "limit": view.name,
        "rate": _rate(view),
        "burst": _marked(view, "burst", view.burst),
        "at a time": _marked(view, "concurrency", view.concurrency or "any"),
        "for each": _each(view),
        "running": view.running,
        "waiting": view.waiting,
        "keys that wait": view.keys,
    }
    for number, slot in enumerate(shown.slots, 1):
        key = f" for {slot.key}" if slot.key else ""
        facts[f"slot {number}"] = f"{slot.task}{key}, worker {slot.owner}"
    for number, line in enumerate(shown.lines, 1):
        key = line.key or "all"
        facts[f"line {number}"] = f"{key}: {line.waiting} wait, the first is {line.first}"
    slots = [{"task": one.task, "worker": one.owner, "key": one.key} for one in shown.slots]
    lines = [
        {"key": one.key, "waiting": one.waiting, "called": one.called, "first": one.first}
        for one in shown.lines
    ]
    document = {**view.as_dict(), "slots": slots, "lines": lines}
    session.out.one("qd.limit.show/1", "limit", document, facts)


@limit.command(
    "set",
    examples=(
        "qd limit set stripe --rate 60/min",
        "qd limit set stripe --concurrency 2",
        "qd limit set stripe --rate 0",
    ),
)
@click.argument("name")
@click.option("--rate", type=StartRate(), help="Starts per time, as in 90/min; 0 = any.")
@click.option("--burst", type=click.IntRange(1), help="Starts at once after a quiet time.")
@click.option("--concurrency", type=click.IntRange(0), help="Tasks at a time; 0 = any.")
@with_session
def set_(
    session: Session, name: str, rate: float | None, burst: int | None, concurrency: int | None
) -> None:
    """
    Let other values hold for a limit, for all workers, at once.

    They hold over restarts, whatever the configuration says, until `qd limit reset`. What is not
    given stays. Tasks that run go on.
    """
    given = {"rate": rate, "burst": burst, "concurrency": concurrency}
    limits = session.inspector.limits
    limits.set(name, {part: value for part, value in given.items() if value is not None})
    view, _ = limits.show(name)
    session.out.one("qd.limit.set/1", "limit", view.as_dict(), _allowed(view))


@limit.command("reset", examples=("qd limit reset stripe",))
@click.argument("name")
@with_session
def reset(session: Session, name: str) -> None:
    """
    Let the configured values of a limit hold again, for all workers, at once.

    What `qd limit set` has set is forgotten; nothing happens if nothing was set.
    """
    limits = session.inspector.limits
    limits.reset(name)
    view, _ = limits.show(name)
    session.out.one("qd.limit.reset/1", "limit", view.as_dict(), _allowed(view))


def _allowed(view: LimitView) -> dict[str, Cell]:
    return {
        "limit": view.name,
        "rate": _rate(view),
        "burst": _marked(view, "burst", view.burst),
        "at a time": _marked(view, "concurrency", view.concurrency or "any"),
    }


def _rate(view: LimitView) -> str:
    from qd.config.kinds import show_rate

    return _marked(view, "rate", show_rate(view.rate) or "any")


def _marked(view: LimitView, part: str, value: object) -> str:
    return f"{value}*" if part in view.set_by_hand else str(value)


def _each(view: LimitView) -> str:
    parts = [view.per] if view.per != "global" else []
    return " and ".join([*parts, *([view.key] if view.key else [])]) or "-"
