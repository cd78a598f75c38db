"""The verbs of `qd cron` that change something: run, pause, resume, backfill, add and rm."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from qd.cli import candidates
from qd.cli.ask import SAMPLE, confirm
from qd.cli.frame import Command
from qd.cli.outcome import act_on_each
from qd.cli.render import Column, iso, plural, relative
from qd.cli.session import Session, with_session
from qd.cli.types import ASSIGNMENT, DURATION, MISSED, MOMENT
from qd.errors import ExitCode, NotFound, QdError, WrongState

if TYPE_CHECKING:
    from qd.app.schedules import Schedules
    from qd.client.declared import Declared
    from qd.inspector.periodic import PeriodicView


_PATIENCE = 0.5
"""Seconds; a scheduler that lives takes a change over within a few milliseconds."""


def _find(session: Session, name: str) -> PeriodicView:
    return session.inspector.periodic.find(name, session.settings.queue_prefix)


@click.command(
    "run",
    cls=Command,
    short_help="Enqueue the task of an entry now.",
    examples=("qd cron run nightly-report",),
)
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=candidates.entries
)
@with_session
def run(session: Session, names: tuple[str, ...]) -> None:
    """
    Enqueue the task of an entry now, whether it is paused or not.

    Its ticks go on as before, and the run is noted in its history.
    """

    def act(name: str) -> tuple[dict[str, Any], str]:
        view = _find(session, name)
        info = session.inspector.periodic.run(view)
        document = {"name": view.name, "id": info.id, "queue": info.queue, "type": info.type}
        return document, f"{view.name}: enqueued {info.type} to {info.queue}: {info.id}"

    act_on_each(session, "qd.cron.run/1", names, act)


@click.command(
    "pause",
    cls=Command,
    short_help="Let the ticks of an entry pass without a task.",
    examples=("qd cron pause nightly-report",),
)
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=candidates.entries
)
@with_session
def pause(session: Session, names: tuple[str, ...]) -> None:
    """
    Let the ticks of an entry pass without a task, until `qd cron resume`.

    They do not count as missed. It holds on all hosts at once, and over restarts.
    """
    _each(session, "qd.cron.pause/1", names, session.inspector.periodic.pause, "paused")


@click.command(
    "resume",
    cls=Command,
    short_help="Let the ticks of an entry enqueue tasks again.",
    examples=("qd cron resume nightly-report",),
)
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=candidates.entries
)
@with_session
def resume(session: Session, names: tuple[str, ...]) -> None:
    """
    Let the ticks of an entry enqueue tasks again.

    Those that passed meanwhile stay without a task; `qd cron backfill` can make up for them.
    """
    _each(session, "qd.cron.resume/1", names, session.inspector.periodic.resume, "running")


def _each(
    session: Session,
    schema: str,
    names: tuple[str, ...],
    change: Callable[[PeriodicView], bool],
    state: str,
) -> None:
    def act(name: str) -> tuple[dict[str, Any], str]:
        view = _find(session, name)
        changed = change(view)
        sentence = f"{view.name} is {state}." if changed else f"{view.name} was {state} before."
        return {"name": view.name, "state": state, "changed": changed}, sentence

    act_on_each(session, schema, names, act)


@click.command(
    "backfill",
    cls=Command,
    short_help="Enqueue the tasks of ticks that were missed.",
    examples=(
        "qd cron backfill nightly-report --from 2030-01-01T00:00:00Z --dry-run",
        "qd cron backfill hourly --from 2030-01-01T00:00:00Z --to 2030-01-02T00:00:00Z -y",
    ),
)
@click.argument("name", metavar="NAME", shell_complete=candidates.entries)
@click.option("--from", "start", type=MOMENT, required=True, help="From this RFC 3339 time on.")
@click.option("--to", "end", type=MOMENT, help="Up to this RFC 3339 time; else up to now.")
@click.option("--dry-run", is_flag=True, help="Show the ticks, enqueue nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@with_session
def backfill(
    session: Session, name: str, start: datetime, end: datetime | None, dry_run: bool, yes: bool
) -> None:
    """
    Enqueue the tasks of ticks that were missed, in order.

    The ticks are counted from the spec as it is now. Those in the history (the last 1,000 tasks)
    are left out, so it is safe to repeat. Each task has the id its tick would have given it; one
    that still exists is not enqueued twice.
    """
    view = _find(session, name)
    periodic = session.inspector.periodic
    ticks, before = periodic.passed(view, start, end or session.out.now)
    left_out = f" ({before} more are in its history)" if before else ""
    if dry_run:
        _show_plan(session, view, ticks, before)
        return
    if ticks:
        sample = [iso(tick) for tick in ticks[:SAMPLE]]
        confirm(f"Enqueue {plural(len(ticks), 'task')} of {view.name}?", sample, yes=yes)
    outcomes = periodic.backfill(view, ticks)
    refused = [(tick, one) for tick, one in outcomes if isinstance(one, QdError)]
    done = len(outcomes) - len(refused)
    session.out.result(
        "qd.cron.backfill/1",
        {
            "name": view.name,
            "done": done,
            "refused": [{"tick": iso(tick), "error": str(error)} for tick, error in refused],
            "enqueued_before": before,
        },
        f"{view.name}: enqueued {plural(done, 'task')}{left_out}.",
        f"{done}",
    )
    for tick, error in refused:
        session.out.say(f"qd: {iso(tick)}: {error}")
    if refused:
        code = ExitCode.PARTLY if done else ExitCode.FAILED
        click.get_current_context().exit(code)


def _show_plan(
    session: Session, view: PeriodicView, ticks: Sequence[datetime], before: int
) -> None:
    columns: list[Column[datetime]] = [
        Column("TICK", lambda tick: iso(tick)),
        Column("WHEN", lambda tick: tick),
    ]
    session.out.rows(
        "qd.cron.backfill.plan/1",
        "ticks",
        ticks,
        columns,
        lambda tick: {"tick": iso(tick)},
        empty=f"{view.name} has no missed tick in that time.",
        more={"name": view.name, "enqueued_before": before},
    )
    if not session.out.machine:
        known = f"; {before} more are in its history" if before else ""
        session.out.say(f"Would enqueue {plural(len(ticks), 'task')} of {view.name}{known}.")


@click.command(
    "add",
    cls=Command,
    short_help="Add or change an entry while schedulers run.",
    examples=(
        "qd cron add nightly-report '0 3 * * *' report:daily region=eu --timezone Europe/Lisbon",
        "qd cron add sync '@every 5m' user:sync --overlap skip --jitter 30s --queue low",
    ),
)
@click.argument("name", metavar="NAME", shell_complete=candidates.entries)
@click.argument("spec", metavar="SPEC")
@click.argument("task_type", metavar="TYPE", shell_complete=candidates.types)
@click.argument("payload", nargs=-1, metavar="[JSON | @FILE | - | K=V...]")
@click.option("--timezone", metavar="ZONE", help="Of the fields; else the scheduler's.")
@click.option("--missed", type=MISSED, default="skip",
              help="Ticks that passed while no scheduler ran: skip, once, all, or all(20).")  # fmt: skip
@click.option("--overlap", type=click.Choice(("allow", "skip")), default="allow",
              help="While the last task has not ended.")  # fmt: skip
@click.option("--jitter", type=DURATION, default=0.0, help="Random delay of each task, up to this.")
@click.option("--dst", type=click.Choice(("debian", "asynq")), default="debian",
              help="Times that a clock change skips or repeats: due once, or as asynq.")  # fmt: skip
@click.option("--start", type=MOMENT, help="First time it may be due, RFC 3339.")
@click.option("--end", type=MOMENT, help="Last time it may be due, RFC 3339.")
@click.option(
    "-q",
    "--queue",
    metavar="QUEUE",
    shell_complete=candidates.queues,
    help="Queue, without the configured prefix.",
)
@click.option("--max-retry", type=click.IntRange(min=0), metavar="N", help="Tries after the first.")
@click.option("--timeout", type=DURATION, help="Longest run.")
@click.option("--unique", type=DURATION, help="Refuse a twin for this long.")
@click.option("--retention", type=DURATION, help="How long to keep a task that succeeded.")
@click.option("--group", metavar="GROUP", help="Let the tasks wait in this group.")
@click.option("--header", "headers", type=ASSIGNMENT, multiple=True, help="Header; repeatable.")
@with_session
def add(
    session: Session,
    /,
    name: str,
    spec: str,
    task_type: str,
    payload: tuple[str, ...],
    headers: tuple[tuple[str, str], ...],
    **given: Any,
) -> None:
    """
    Add an entry, or change one that was added, while schedulers run.

    They take it over at once, and no tick is lost or comes twice because of it. It is kept in Redis
    until `qd cron rm`, and stands in for an entry of this name in code or configuration. The
    payload is written as for `qd enqueue`.
    """
    from qd.cli.payload import read_payload
    from qd.client.declared import Declared
    from qd.handlers.options import TaskOptions

    names = ("queue", "max_retry", "timeout", "unique", "retention", "group")
    options = {one: given.pop(one) for one in names}
    declared = Declared(
        name=name,
        spec=spec,
        task_type=task_type,
        payload=read_payload(payload),
        options=TaskOptions.of(**options, headers=dict(headers) or None),
        source="runtime",
        **given,
    )
    known = {one.name: one for one in session.inspector.periodic.all(session.settings.queue_prefix)}
    before = known.get(name)
    if before is not None and before.source in ("code", "config"):
        declared = _in_its_queue(session, before, declared)
        session.out.say(f"It stands in for the entry of this name in {_place(before.source)}.")
    added = _schedules(session).put(declared)
    due = declared.schedule("UTC").next(session.out.now)
    when = "it is never due" if due is None else f"due {iso(due)}, {relative(due, session.out.now)}"
    session.out.result(
        "qd.cron.add/1",
        {"name": name, "added": added, "next": None if due is None else iso(due)},
        f"{'Added' if added else 'Changed'} {name}: {when}",
        name,
    )
    if not _taken_over(session, declared):
        session.out.say("No scheduler knows it yet: `qd worker` and `qd scheduler` run one.")


def _taken_over(session: Session, declared: Declared) -> bool:
    """Wait a moment for a scheduler that shows the entry as it is now."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        view = _find(session, declared.name)
        if view.hosts and (view.source, view.spec) == ("runtime", declared.spec):
            return True
        time.sleep(_PATIENCE / 20)
    return False


def _in_its_queue(session: Session, before: PeriodicView, declared: Declared) -> Declared:
    """Return what is to stand in for *before*, in the same queue, beside which ticks are counted."""
    from msgspec.structs import replace

    wanted = declared.options.queue
    if before.queue is None or (wanted is not None and session.stored(wanted) == before.queue):
        return declared
    if wanted is not None:
        raise WrongState(
            f"{before.name} is in the queue {before.queue}, and would change to"
            f" {session.stored(wanted)}: ticks are counted beside their queue",
            hint="Choose another name.",
        )
    queue = before.queue.removeprefix(session.settings.queue_prefix)
    return replace(declared, options=replace(declared.options, queue=queue))


def _place(source: str) -> str:
    return "the code" if source == "code" else "the configuration"


@click.command(
    "rm",
    cls=Command,
    short_help="Remove entries that were added with `qd cron add`.",
    examples=("qd cron rm nightly-report",),
)
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=candidates.entries
)
@with_session
def rm(session: Session, names: tuple[str, ...]) -> None:
    """
    Remove entries that were added with `qd cron add`, or by the program at run time.

    One of the same name in code or configuration is in force again. Tasks that were enqueued stay.
    """

    def act(name: str) -> tuple[dict[str, Any], str]:
        if not _schedules(session).remove(name):
            view = _find(session, name)
            if view.source == "asynq":
                raise NotFound(f"{name} belongs to a scheduler of asynq")
            raise NotFound(
                f"{name} is declared in {_place(view.source)}, and was not added at run time",
                hint=f"Remove it there, or hold it with `qd cron pause {name}`.",
            )
        return {"name": name}, f"Removed {name}."

    act_on_each(session, "qd.cron.rm/1", names, act)


def _schedules(session: Session) -> Schedules:
    from qd.app.schedules import Schedules

    return Schedules(session.settings, {}, lambda: session.link)


COMMANDS = (run, pause, resume, backfill, add, rm)
