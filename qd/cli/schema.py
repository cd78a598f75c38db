"""`qd schema`: what the JSON of a command looks like."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from qd.cli import candidates
from qd.cli.frame import Command
from qd.cli.render import Column
from qd.cli.session import Session, with_session
from qd.errors import NotFound
from qd.suggest import did_you_mean

if TYPE_CHECKING:
    from qd.cli.schemas import Document, FieldRow


@click.command(
    "schema",
    cls=Command,
    short_help="Show what the JSON of a command looks like.",
    examples=(
        "qd schema",
        "qd schema qd queue ls",
        "qd schema qd.task.ls/1 --json > task-ls.schema.json",
    ),
)
@click.argument("words", nargs=-1, metavar="[NAME | COMMAND]", shell_complete=candidates.schemas)
@with_session
def schema(session: Session, words: tuple[str, ...]) -> None:
    """
    Show what the JSON of a command looks like, field by field, or list all shapes.

    Every answer with --json is one document that names its shape in `schema`. With -o jsonl it is
    the field that is said below the list, an element a line.

    With --json, JSON Schema is printed. Within a number fields may be added; one that goes, or
    means something else, makes the next number.
    """
    from qd.cli.schemas import load

    known = load()
    if not words:
        columns: list[Column[Document]] = [
            Column("SCHEMA", lambda one: one.name),
            Column("COMMAND", lambda one: one.command),
        ]
        session.out.rows(
            "qd.schema.ls/1",
            "schemas",
            known.all(),
            columns,
            lambda one: {"schema": one.name, "command": one.command},
            empty="",
        )
        return
    text = " ".join(words)
    found = known.find(text) or known.find(f"qd {text}")
    if not found:
        names = [name for one in known.all() for name in (one.name, one.command)]
        raise NotFound(
            f'No shape is called "{text}".{did_you_mean(text, names)}',
            hint="`qd schema` lists them all, with their commands.",
        )
    for document in found:
        if session.out.machine:
            indent = 2 if session.out.form == "json" else None
            click.echo(json.dumps(known.json_schema(document), indent=indent))
        else:
            _show(session, document, list(known.rows(document)))


def _show(session: Session, document: Document, rows: list[FieldRow]) -> None:
    columns: list[Column[FieldRow]] = [
        Column("FIELD", lambda row: row.place),
        Column("TYPE", lambda row: row.type),
        Column("MEANING", lambda row: row.meaning, flows=True),
    ]
    session.out.rows("", "", rows, columns, lambda _: {}, empty="")
    if document.lines:
        said = f"With -o jsonl a line is what stands in {document.lines}."
    else:
        said = "With -o jsonl it is one line, without `schema`."
    session.out.say(f"{document.name}, the JSON of `{document.command}`. {said}")
