"""State and picture as a screen of text. Nothing is asked here, and nothing is decided."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from qd.cli.dash.picture import Picture
from qd.cli.dash.rates import Rates
from qd.cli.dash.state import STATES, TABS, Page, State
from qd.cli.render import for_people, printable, rough
from qd.cli.tasktext import content, first_line, since_when, state_of
from qd.inspector.views import QueueView, ServerView, TaskView

_STYLES = {"paused": "yellow", "active": "green", "retry": "yellow", "archived": "red"}
_CURSOR = "reverse"
_HEAD = 4
_FOOT = 2
_GAP = 2
_LABEL = 13
_WIDEST = 40
_NARROWEST = 16
"""Characters of a column: the most it gets, and the least a cut one needs to be worth it."""


def screen(
    state: State, picture: Picture, rates: Rates, *, width: int, height: int, now: datetime
) -> RenderableType:
    """Return what fills a terminal of this size."""
    place = Place(width, max(height - _HEAD - _FOOT, 2))
    match state.page:
        case Page.QUEUES:
            body = _queues(state, picture, rates, place)
        case Page.WORKERS:
            body = _workers(state, picture, place, now)
        case Page.TASK:
            body = _task(picture, place, now)
        case _:
            body = _tasks(state, picture, place, now)
    return Group(*_head(state, picture, rates, width), *body, *_foot(state, picture, width))


class Place(NamedTuple):
    """Room on the screen."""

    columns: int
    lines: int


def visible(cursor: int, rows: int, room: int) -> range:
    """Which rows of a list to show, so that the cursor is among them."""
    first = max(0, min(cursor - room // 2, rows - room))
    return range(first, min(first + room, rows))


def _head(state: State, picture: Picture, rates: Rates, width: int) -> list[Text]:
    tabs = Text()
    for number, page in enumerate(TABS, 1):
        tabs.append(f" {number} {page.value} ", style=_CURSOR if page is state.page else "")
        tabs.append(" ")
    if state.page in (Page.TASKS, Page.TASK):
        tabs.append(f" {printable(state.queue)}", style="bold")
    if state.page is Page.TASKS:
        for one in STATES:
            tabs.append("  ")
            tabs.append(one.value, style=_CURSOR if one is state.task_state else "dim")
    rate = rates.of()
    waiting = sum(view.pending for view in picture.queues)
    numbers = f"waiting {waiting}  {rate.processed:.1f}/s ended  {rate.failed:.1f}/s failed"
    if rate.drain:
        numbers += f"  drained in {rough(rate.drain)}"
    room = max(width - 12, 1)
    lines = [
        tabs,
        Text(numbers),
        Text(f"ended  {rates.plot(room)}", style="green"),
        Text(f"failed {rates.plot(room, failed=True)}", style="red"),
    ]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _foot(state: State, picture: Picture, width: int) -> list[Text]:
    if state.asking is not None:
        row = state.asking.row
        text, style = f"{state.asking.verb.value} {row.task_id or row.queue}?", "bold yellow"
    elif picture.error:
        text, style = first_line(picture.error, width), "bold red"
    else:
        text, style = state.message, "bold"
    keys = "  ".join(f"[{key}] {what}" for key, what in state.keys().items())
    lines = [Text(printable(text), style=style), Text(keys, style="dim")]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], cursor: int | None, width: int
) -> list[Text]:
    """Heading and rows in columns; those at the right are left out where there is no room."""
    cells = [titles, *([printable(cell) for cell in row] for row in rows)]
    widths: list[int] = []
    for column in zip(*cells, strict=True):
        wanted = min(max(map(len, column)), _WIDEST)
        if widths and sum(widths) + _GAP * len(widths) + min(wanted, _NARROWEST) > width:
            break
        widths.append(wanted)
    # The last one has what is left.
    widths[-1] = max(width - sum(widths[:-1]) - _GAP * (len(widths) - 1), 1)
    lines = []
    for number, row in enumerate(cells):
        line = Text(style="bold" if not number else "", no_wrap=True)
        for cell, room in zip(row, widths, strict=False):
            text = cell if len(cell) <= room else cell[: room - 1] + "…"
            line.append(text.ljust(room), style=_STYLES.get(cell, ""))
            line.append(" " * _GAP)
        line.truncate(width)
        if cursor is not None and number == cursor + 1:
            line.stylize(_CURSOR)
        lines.append(line)
    return lines


def _list(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    state: State,
    place: Place,
    empty: str,
) -> list[Text]:
    """A table that fills its place, scrolled to the cursor."""
    if not rows:
        return _filled([Text(empty, style="dim")], place.lines)
    shown = visible(state.cursor, len(rows), place.lines - 1)
    some = [rows[number] for number in shown]
    return _filled(_table(titles, some, state.cursor - shown.start, place.columns), place.lines)


def _filled(lines: list[Text], height: int) -> list[Text]:
    return (lines + [Text("")] * height)[:height]


def _queues(state: State, picture: Picture, rates: Rates, place: Place) -> list[Text]:
    def row(view: QueueView) -> list[str]:
        rate = rates.of(view.name)
        return [
            view.name,
            "paused" if view.paused else "running",
            str(view.pending),
            str(view.active),
            str(view.retry),
            str(view.archived),
            f"{rate.processed:.1f}",
            f"{rate.failed:.1f}",
            "-" if rate.drain is None else rough(rate.drain),
            rough(view.latency),
            str(view.scheduled),
        ]

    titles = ("QUEUE", "STATE", "PEND", "ACT", "RETRY", "DEAD", "/S", "FAIL/S", "DRAIN", "WAIT", "SCHED")  # fmt: skip
    rows = [row(view) for view in picture.queues]
    return _list(titles, rows, state, place, "No queue yet: one appears with its first task.")


def _tasks(state: State, picture: Picture, place: Place, now: datetime) -> list[Text]:
    def row(view: TaskView) -> list[str]:
        when = view.next_at or since_when(view)
        told = first_line(view.error or content(view.payload))
        if view.progress is not None and view.state == "active":
            told = str(view.progress)
        return [
            view.id[:8] + ("…" if len(view.id) > 8 else ""),
            view.type or "?",
            *([view.queue] if state.page is Page.FAILURES else []),
            state_of(view),
            for_people(when, now),
            f"{view.retried}/{view.max_retry}",
            told,
        ]

    queue = ("QUEUE",) if state.page is Page.FAILURES else ()
    titles = ("ID", "TYPE", *queue, "STATE", "WHEN", "RETRIES", "PROGRESS, ERROR OR PAYLOAD")
    rows = [row(view) for view in picture.tasks]
    return _list(titles, rows, state, place, "No tasks.")


def _workers(state: State, picture: Picture, place: Place, now: datetime) -> list[Text]:
    def row(view: ServerView) -> list[str]:
        busy = f"{view.active_workers}/{view.concurrency}"
        queues = " ".join(name for name, _ in view.queues)
        return [f"{view.host}:{view.pid}", view.status, busy, for_people(view.started, now), queues]

    titles = ("WORKER", "STATUS", "BUSY", "STARTED", "QUEUES")
    most = max(place.lines // 2 - 1, 1)
    servers = _table(titles, [row(view) for view in picture.servers[:most]], None, place.columns)
    running = [
        [one.task_id, one.type, one.queue, for_people(one.started, now), f"{one.host}:{one.pid}"]
        for one in picture.running
    ]
    tasks = _list(
        ("RUNNING", "TYPE", "QUEUE", "STARTED", "WORKER"),
        running,
        state,
        Place(place.columns, place.lines - len(servers)),
        "No worker runs a task." if picture.servers else "No worker process is alive.",
    )
    return servers + tasks


def _task(picture: Picture, place: Place, now: datetime) -> list[Text]:
    view = picture.task
    if view is None:
        return _filled([], place.lines)
    facts = {
        "id": view.id,
        "type": view.type,
        "queue": view.queue,
        "state": state_of(view),
        "retries": f"{view.retried} of {view.max_retry}",
        "due": for_people(view.next_at, now),
        "waits since": for_people(view.pending_since, now),
        "last failed": for_people(view.last_failed_at, now),
        "worker": view.owner,
        "error": view.error,
        "payload": content(view.payload),
        "progress": "" if view.progress is None else str(view.progress),
        "result": "" if view.result is None else content(view.result),
    }
    room = max(place.columns - _LABEL, 1)
    lines: list[Text] = []
    for name, value in facts.items():
        if value in ("", "-"):
            continue
        text = printable(value.replace("\n", " ⏎ "))
        lines += [
            Text(("" if at else name).ljust(_LABEL) + text[at : at + room])
            for at in range(0, len(text), room)
        ]
    return _filled(lines, place.lines)
