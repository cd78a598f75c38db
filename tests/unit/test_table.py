"""Tables in the width there is: `qd/cli/table.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from qd.cli.queue import columns as queue_columns
from qd.cli.render import Column
from qd.cli.table import lay_out, width_of

MADE = ("15e36dfe-b0bb-41b1-83ec-895730cec0e9", "15e36dff-11ec-47b8-889c-7b4c76a7e7e4")


def column(title: str, **how: Any) -> Column[Sequence[str]]:
    return Column(title, lambda row: row[0], **how)


def shown(columns: Sequence[Column[Any]], *rows: Sequence[str], width: int | None) -> list[str]:
    return list(lay_out(columns, rows, width=width))


def test_without_a_terminal_nothing_is_cut_left_out_or_folded() -> None:
    columns = [column("ID", names=True), column("ERROR", shrinks=True), column("SILENT")]
    lines = shown(columns, [MADE[0], "x" * 200, "-"], width=None)
    assert lines[1] == f"{MADE[0]}  {'x' * 200}  -"


def test_columns_line_up_also_behind_letters_of_double_width() -> None:
    heading, first, second = shown(
        [column("QUEUE"), column("STATE")], ["注文処理", "ok"], ["low", "ok"], width=None
    )
    places = {width_of(line[: line.index(word)]) for line, word in ((first, "ok"), (second, "ok"))}
    assert places == {heading.index("STATE")}


def test_made_ids_are_cut_first_to_what_tells_them_apart() -> None:
    columns = [column("ID", names=True), column("NAME")]
    lines = shown(
        columns, [MADE[0], "n" * 40], [MADE[1], "-"], ["own-id-of-somebody", "-"], width=70
    )
    assert [line.split()[0] for line in lines[1:]] == [
        "15e36dfe…",
        "15e36dff…",
        "own-id-of-somebody",
    ]


def test_then_long_texts_are_cut_as_far_as_they_are_legible() -> None:
    columns = [column("TYPE"), column("ERROR", shrinks=True)]
    _, row = shown(columns, ["t" * 30, "e" * 100], width=60)
    assert row == "t" * 30 + "  " + "e" * 27 + "…"


def test_then_titles_become_short() -> None:
    columns = [column("A" * 20), column("LONG" * 10, short="L"), column("B" * 20)]
    heading, _ = shown(columns, ["a", "1", "b"], width=50)
    assert heading.split() == ["A" * 20, "L", "B" * 20]


def test_then_columns_that_say_nothing_are_left_out() -> None:
    columns = [column("NAME"), column("S" * 30), column("T" * 30)]
    heading, *_ = shown(columns, ["n", "-", "0"], ["m", "0", "7"], width=50)
    assert heading.split() == ["NAME", "T" * 30]


def test_at_last_rows_are_folded() -> None:
    columns = [column("NAME"), column("S" * 30), column("T" * 30)]
    lines = shown(columns, ["n", "1", "2"], ["m", "3", "-"], width=50)
    assert lines == [
        "NAME  " + "S" * 30,
        "    " + "T" * 30,
        "n     1",
        "    2",
        "m     3",
    ]


def test_text_that_flows_ends_its_line_and_is_never_cut() -> None:
    columns = [column("RESULT"), column("DETAIL", flows=True), column("TRY", flows=True)]
    lines = shown(columns, ["warning", "d" * 100, "qd doctor --fix"], ["ok", "-", "-"], width=60)
    assert lines[2:] == ["warning  " + "d" * 100, "    qd doctor --fix", "ok       -"]


@pytest.mark.parametrize("name", ["low", "notifications", "q" * 60])
def test_queues_are_legible_on_80_columns(name: str) -> None:
    row = [name, "running", "1000000", "12", "3", "4", "5", "0", "0", "14m", "99999", "31"]
    lines = shown(queue_columns(), row, width=80)
    assert all(len(line) <= 80 for line in lines)
    told = [cell for line in lines for cell in line.split() if cell in row and cell != "0"]
    assert told == [cell for cell in row if cell != "0"]


def test_states_have_colours_and_headings_are_bold() -> None:
    heading, row = lay_out([column("STATE")], [["paused"]], color=True)
    assert heading == "\x1b[1mSTATE\x1b[0m"
    assert row == "\x1b[33mpaused\x1b[0m"
