"""
Tables for people: columns that line up, in the width there is.

A terminal that is too narrow makes nothing illegible. In this order: made ids and long texts are cut,
titles become short, columns that say nothing in any row are left out, and at last rows are folded:
columns for which there is no room stand on further lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import click
from msgspec import Struct
from msgspec.structs import replace

from qd.cli.render import BEGINNING, Column, is_made_id

T = TypeVar("T")

_GAP = 2
_INDENT = 4
"""Blanks between columns, and in front of the further lines of a row."""

_LEGIBLE = 16
"""Characters of a long text that are worth showing."""

_NARROW = 40
"""Fewer columns than this are no terminal anybody reads a table on."""

_SILENT = {"-", "0"}

_STATE_STYLES: dict[str, dict[str, Any]] = {
    "active": {"fg": "green"},
    "completed": {"fg": "green"},
    "ok": {"fg": "green"},
    "running": {"fg": "green"},
    "retry": {"fg": "yellow"},
    "paused": {"fg": "yellow"},
    "warning": {"fg": "yellow"},
    "archived": {"fg": "red"},
    "problem": {"fg": "red"},
    "poison": {"fg": "red", "bold": True},
}


def lay_out(
    columns: Sequence[Column[T]],
    rows: Sequence[Sequence[str]],
    *,
    width: int | None = None,
    color: bool = False,
) -> Iterator[str]:
    """
    Yield the lines of a table, headings first.

    `width`: of the terminal, in places; without one nothing is cut, left out or folded.
    """
    strips = [
        _Strip(column, column.title, texts)
        for column, texts in zip(columns, zip(*rows, strict=True), strict=True)
    ]
    lines = [strips] if width is None else _narrowed(strips, max(width, _NARROW))
    yield from _row(lines, None, color=color)
    for number in range(len(rows)):
        yield from _row(lines, number, color=color)


def width_of(text: str) -> int:
    """Return how many places of a terminal a text takes; letters of some languages take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def cut(text: str, room: int) -> str:
    """Return as much of a text as there is room for; an ellipsis stands for what is missing."""
    if width_of(text) <= room:
        return text
    from rich.cells import set_cell_size

    return set_cell_size(text, room - 1) + "…"


class _Strip(Struct, frozen=True):
    """A column with its cells, as far as they are shown."""

    column: Column[Any]
    title: str
    cells: Sequence[str]

    @property
    def width(self) -> int:
        return max(map(width_of, (self.title, *self.cells)))

    @property
    def needed(self) -> int:
        """The least room in which it is worth showing."""
        if self.column.shrinks:
            return max(min(self.width, _LEGIBLE), width_of(self.title))
        return self.width


def _narrowed(strips: Sequence[_Strip], width: int) -> list[Sequence[_Strip]]:
    """Return the strips of each line of a row, so that they fit."""
    for shorter in (_cut_names, _shorten_titles, _leave_out_silent):
        if len(_folded(strips, width)) == 1:
            break
        strips = shorter(strips)
    lines = _folded(strips, width)
    return [_cut_texts(line, width - (_INDENT if at else 0)) for at, line in enumerate(lines)]


def _folded(strips: Sequence[_Strip], width: int) -> list[list[_Strip]]:
    """Put as many strips on a line as there is room for; a text that flows on may be the last."""
    lines: list[list[_Strip]] = []
    room = 0
    for strip in strips:
        if not lines or (strip.needed > room and not (strip.column.flows and room >= _LEGIBLE)):
            room = width - (_INDENT if lines else 0)
            lines.append([])
        lines[-1].append(strip)
        room -= strip.needed + _GAP
    return lines


def _cut_names(strips: Sequence[_Strip]) -> Sequence[_Strip]:
    """Cut made ids to beginnings that are unique in the table; commands take them."""
    return [_with_cut_names(one) if one.column.names else one for one in strips]


def _with_cut_names(strip: _Strip) -> _Strip:
    made = {cell for cell in strip.cells if is_made_id(cell)}
    size = BEGINNING
    while len({one[:size] for one in made}) < len(made):
        size += 1
    return replace(strip, cells=[f"{c[:size]}…" if c in made else c for c in strip.cells])


def _shorten_titles(strips: Sequence[_Strip]) -> Sequence[_Strip]:
    return [replace(one, title=one.column.short or one.title) for one in strips]


def _leave_out_silent(strips: Sequence[_Strip]) -> Sequence[_Strip]:
    first, *others = strips
    return [first, *(one for one in others if not set(one.cells) <= _SILENT)]


def _cut_texts(line: Sequence[_Strip], width: int) -> Sequence[_Strip]:
    """Cut the texts that may be cut, the longest first, until the line fits."""
    limits = [one.width for one in line]
    excess = sum(limits) + _GAP * (len(line) - 1) - width
    while excess > 0:
        cuttable = [
            at for at, one in enumerate(line) if one.column.shrinks and limits[at] > one.needed
        ]
        if not cuttable:
            break
        limits[max(cuttable, key=limits.__getitem__)] -= 1
        excess -= 1
    return [
        replace(one, cells=[cut(cell, limit) for cell in one.cells]) if limit < one.width else one
        for one, limit in zip(line, limits, strict=True)
    ]


def _row(lines: Sequence[Sequence[_Strip]], number: int | None, *, color: bool) -> Iterator[str]:
    """Yield the lines of one row, or of the headings; a further line only if it says something."""
    for at, line in enumerate(lines):
        texts = [one.title if number is None else one.cells[number] for one in line]
        if at and set(texts) <= _SILENT:
            continue
        padding = [
            " " * (_GAP + one.width - width_of(text)) for one, text in zip(line, texts, strict=True)
        ]
        if color:
            texts = [_styled(text, heading=number is None) for text in texts]
        last = len(texts) - 1
        shown = (text + padding[place] * (place < last) for place, text in enumerate(texts))
        yield " " * (_INDENT if at else 0) + "".join(shown).rstrip()


def _styled(text: str, *, heading: bool) -> str:
    style = {"bold": True} if heading else _STATE_STYLES.get(text)
    return click.style(text, **style) if style else text
