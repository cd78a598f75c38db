"""
The answer on stdout in the form that was asked for, the conversation on stderr.

A list has columns for people and documents for programs. JSON documents name their shape in
`schema`; `schemas.yaml` says what each has in it, and when it gets the next number.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from shutil import get_terminal_size
from typing import Any, TypeVar

import click

from qd.cli import render
from qd.cli.frame import Flags
from qd.cli.render import Cell, Column

T = TypeVar("T")


class Output:
    """Where a command leaves its answer. `now` is the moment relative times refer to."""

    def __init__(self, flags: Flags) -> None:
        self.form = flags.output
        self.now = datetime.now(UTC)
        self.terminal = sys.stdout.isatty()
        self.color = _wants_color(flags.color, terminal=self.terminal)

    @property
    def machine(self) -> bool:
        """True if a program reads the answer as JSON."""
        return self.form in ("json", "jsonl")

    def rows(
        self,
        schema: str,
        name: str,
        items: Sequence[T],
        columns: Sequence[Column[T]],
        document: Callable[[T], Mapping[str, Any]],
        *,
        empty: str,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Show a list: as a table, or as documents in a list called `name`.

        `empty` is said on stderr when there is nothing; `more` are further fields of the JSON
        document.
        """
        if self.form == "json":
            listed = [dict(document(item)) for item in items]
            self._line(render.as_json({"schema": schema, name: listed, **(more or {})}))
        elif self.form == "jsonl":
            for item in items:
                self._line(render.as_json(document(item)))
        elif self.form == "plain":
            for item in items:
                self._line("\t".join(render.exact(column.value(item)) for column in columns))
        elif items:
            self.table(items, columns)
        if not items and not self.machine:
            self.say(empty)

    def one(
        self, schema: str, name: str, document: Mapping[str, Any], facts: Mapping[str, Cell]
    ) -> None:
        """Show one thing: its facts, one a line, or its document under `name`."""
        if self.form == "json":
            self._line(render.as_json({"schema": schema, name: dict(document)}))
        elif self.form == "jsonl":
            self._line(render.as_json(document))
        elif self.form == "plain":
            for label, value in facts.items():
                self._line(f"{label}\t{render.exact(value)}")
        else:
            width = max(map(len, facts))
            for label, value in facts.items():
                text = self._both(value)
                self._line(f"{click.style(label.ljust(width), bold=True)}  {text}")

    def result(self, schema: str, document: Mapping[str, Any], sentence: str, plain: str) -> None:
        """Show what a command has done: as a sentence, as a document, or as bare `plain` text."""
        if self.form == "json":
            self._line(render.as_json({"schema": schema, **document}))
        elif self.form == "jsonl":
            self._line(render.as_json(document))
        elif self.form == "plain":
            self._line(render.printable(plain))
        else:
            self._line(render.printable(sentence))

    def table(self, items: Sequence[T], columns: Sequence[Column[T]]) -> None:
        """Show rows as a table for people, whatever form was asked for."""
        rows = [
            [render.for_people(column.value(item), self.now) for column in columns]
            for item in items
        ]
        if not rows:
            return
        # Not above: a page of help needs no table.
        from qd.cli.table import lay_out

        width = get_terminal_size().columns if self.terminal else None
        for line in lay_out(columns, rows, width=width, color=self.color):
            self._line(line)

    def say(self, text: str) -> None:
        """Say something to the person at the terminal, on stderr."""
        click.echo(render.printable(text), err=True)

    def _both(self, value: Cell) -> str:
        """A moment alone on its line has room for both forms."""
        text = render.for_people(value, self.now)
        if isinstance(value, datetime):
            return f"{render.iso(value)}  ({text})"
        return text

    def _line(self, text: str) -> None:
        click.echo(text, color=self.color)


def _wants_color(choice: str, *, terminal: bool) -> bool:
    if choice != "auto":
        return choice == "always"
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
