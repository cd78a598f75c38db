"""The part of `qd doctor` that looks through the store, and `--fix`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from qd.cli.ask import SAMPLE, confirm
from qd.cli.checks import Check
from qd.cli.progress import progress
from qd.cli.render import Column, plural
from qd.cli.session import Session
from qd.errors import ExitCode

if TYPE_CHECKING:
    from qd.inspector.doctor.doctor import Doctor, Report
    from qd.inspector.doctor.finding import Finding

_FIX = "qd doctor --fix"


def look(session: Session, queues: Sequence[str]) -> tuple[Doctor, Report]:
    """Look through all queues, or those named; raises QueueNotFound."""
    from qd.inspector.doctor.doctor import Doctor

    doctor = Doctor(session.link, prefix=session.settings.queue_prefix)
    named = [session.stored(name) for name in dict.fromkeys(queues)] or None
    with progress("looking at tasks", None) as advance:
        return doctor, doctor.look(named, progress=advance)


def as_checks(report: Report) -> list[Check]:
    """One line for each rule that something in a queue breaks, or one that says all is well."""
    from qd.inspector.doctor.finding import RULES

    looked = f"{report.tasks} tasks in {plural(report.queues, 'queue')}"
    if not report.findings:
        return [Check("store", detail=f"{looked}: all as they should be")]
    checks: list[Check] = []
    for some in _alike(report.findings):
        first = some[0]
        rule = RULES[first.rule]
        checks.append(
            Check(
                f"store {first.queue}".rstrip(),
                first.level,
                f"{plural(len(some), rule.one, rule.several)}: {rule.risk} ({_sample(some)})",
                _FIX if first.repair else "Find out who wrote it.",
            )
        )
    return checks


def document(report: Report) -> dict[str, Any]:
    """The JSON form of a look, beside the checks."""
    return {
        "store": {
            "tasks": report.tasks,
            "queues": report.queues,
            "seconds": round(report.seconds, 3),
        },
        "findings": [one.as_dict() for one in report.findings],
    }


def fix(session: Session, queues: Sequence[str], *, yes: bool) -> None:
    """Look, show what would be done, ask, and repair."""
    from qd.inspector.doctor.doctor import Mended

    doctor, report = look(session, queues)
    wanted = [one for one in report.findings if one.repair]
    for some in _alike(report.findings):
        session.out.say(_plan(some))
    if wanted:
        confirm(f"Carry out {plural(len(wanted), 'repair')}?", [], yes=yes)
    with progress("repairing", len(wanted)) as advance:
        results = doctor.mend(report.findings, progress=advance)
    counts = Counter(result for _, result in results)
    columns: list[Column[tuple[Finding, Mended]]] = [
        Column("RESULT", lambda row: row[1].value),
        Column("QUEUE", lambda row: row[0].queue),
        Column("RULE", lambda row: row[0].rule),
        Column("SUBJECT", lambda row: row[0].name),
        Column("EVIDENCE", lambda row: row[0].evidence, shrinks=True),
    ]
    session.out.rows(
        "qd.doctor.fix/1",
        "findings",
        results,
        columns,
        lambda row: {**row[0].as_dict(), "result": row[1].value},
        empty=f"Nothing to repair: {report.tasks} tasks are as they should be.",
        more={"counts": {one.value: counts[one] for one in Mended}},
    )
    if results:
        said = [f"{counts[one]} {one.value}" for one in Mended if counts[one]]
        session.out.say(", ".join(said))
    if len(results) > counts[Mended.REPAIRED]:
        partly = counts[Mended.REPAIRED] > 0
        click.get_current_context().exit(ExitCode.PARTLY if partly else ExitCode.FAILED)


def _alike(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Findings of one rule in one queue with one remedy, in the order of repairs."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for one in findings:
        groups.setdefault((one.rule, one.queue, one.remedy), []).append(one)
    return list(groups.values())


def _plan(some: Sequence[Finding]) -> str:
    from qd.inspector.doctor.finding import RULES

    first = some[0]
    rule = RULES[first.rule]
    what = plural(len(some), rule.one, rule.several)
    where = f"{first.queue}: " if first.queue else ""
    return f"  {where}{what} ({_sample(some)}) -> {first.remedy or 'left to you'}"


def _sample(some: Sequence[Finding]) -> str:
    more = len(some) - SAMPLE
    names = ", ".join(one.name for one in some[:SAMPLE])
    return f"{names} and {more} more" if more > 0 else names
