"""State and picture as a screen of text. Nothing is asked here, and nothing is decided."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.console import Group, RenderableType
from rich.text import Text

from qd.cli.dash.picture import Picture
from qd.cli.dash.rates import Rates
from qd.cli.dash.state import HELP, STATES, TABS, Page, State
from qd.cli.render import for_people, printable, rough
from qd.cli.table import cut
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
    if state.helping:
        return Group(
            *_head(state, picture, rates, width), *_help(place), *_foot(state, picture, width)
        )
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
        tabs.append(f"[{number}] {page.value}", style=_CURSOR if page is state.page else "")
        tabs.append("  ")
    if state.page is Page.TASKS:
        tabs.append(f"queue {printable(state.queue)}", style="bold")
    room = max(width - 12, 1)
    lines = [
        tabs,
        _states(state, picture, width) if state.page is Page.TASKS else _numbers(picture, rates),
        Text(f"ended  {rates.plot(room)}", style="green"),
        Text(f"failed {rates.plot(room, failed=True)}", style="red"),
    ]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _numbers(picture: Picture, rates: Rates) -> Text:
    rate = rates.of()
    waiting = sum(view.pending for view in picture.queues)
    numbers = f"waiting {waiting}  {rate.processed:.1f}/s ended  {rate.failed:.1f}/s failed"
    if rate.drain:
        numbers += f"  drained in {rough(rate.drain)}"
    return Text(numbers)


def _states(state: State, picture: Picture, width: int) -> Text:
    """The states to choose from, with their counts if there is room; the chosen one is in sight."""
    counts = next((view for view in picture.queues if view.name == state.queue), None)
    names = [one.value for one in STATES]
    labels = names
    if counts is not None:
        sizes = {name: getattr(counts, name) for name in names}
        labels = [f"{name} {size}" if size else name for name, size in sizes.items()]
        if sum(map(len, labels)) + _GAP * len(labels) > width:
            labels = names
    chosen = STATES.index(state.task_state)
    first = 0
    while (
        first < chosen
        and sum(map(len, labels[first : chosen + 1])) + _GAP * (chosen - first) > width
    ):
        first += 1
    line = Text()
    for number, label in enumerate(labels[first:], first):
        line.append(label, style=_CURSOR if number == chosen else "")
        line.append(" " * _GAP)
    return line


def _foot(state: State, picture: Picture, width: int) -> list[Text]:
    if state.asking is not None:
        row = state.asking.row
        text, style = f"{state.asking.verb.value} {row.task_id or row.queue}?", "bold yellow"
    elif picture.error:
        before = "This is the last that was seen: " if picture.stale else ""
        text, style = before + first_line(picture.error, width), "bold red"
    else:
        text, style = state.message, "bold"
    lines = [Text(printable(text), style=style), Text(_keys(state, width), style="dim")]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _keys(state: State, width: int) -> str:
    """The keys, as many as there is room for; help and quit, the last two, always."""
    keys = [f"[{key}] {what}" for key, what in state.keys().items()]
    while len(keys) > 2 and sum(map(len, keys)) + _GAP * (len(keys) - 1) > width:
        keys.pop(-3)
    return (" " * _GAP).join(keys)


def _help(place: Place) -> list[Text]:
    lines = [Text.assemble((key.ljust(_LABEL), "bold"), what) for key, what in HELP.items()]
    for line in lines:
        line.truncate(place.columns, overflow="ellipsis")
    return _filled(lines, place.lines)


def _table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], cursor: int | None, width: int
) -> list[Text]:
    """Heading and rows in columns; those at the right are left out where there is no room."""
    cells = [titles, *([printable(cell) for cell in row] for row in rows)]
    widths: list[int] = []
    for column in zip(*cells, strict=True):
        wanted = min(max(map(cell_len, column)), _WIDEST)
        if widths and sum(widths) + _GAP * len(widths) + min(wanted, _NARROWEST) > width:
            break
        widths.append(wanted)
    # The last one has what is left.
    widths[-1] = max(width - sum(widths[:-1]) - _GAP * (len(widths) - 1), 1)
    lines = []
    for number, row in enumerate(cells):
        line = Text(style="bold" if not number else "", no_wrap=True)
        for cell, room in zip(row, widths, strict=False):
            line.append(set_cell_size(cut(cell, room), room), style=_STYLES.get(cell, ""))
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
    *,
    stale: bool,
) -> list[Text]:
    """A table that fills its place, scrolled to the cursor."""
    if not rows:
        empty = "Redis has not answered yet." if stale else empty
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
            rough(view.latency) if view.pending else "-",
            str(view.scheduled),
        ]

    titles = ("QUEUE", "STATE", "PEND", "ACT", "RETRY", "DEAD", "/S", "FAIL/S", "DRAIN", "WAIT", "SCHED")  # fmt: skip
    rows = [row(view) for view in picture.queues]
    empty = "No queue yet: one appears with its first task."
    return _list(titles, rows, state, place, empty, stale=picture.stale)


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
    return _list(titles, rows, state, place, "No tasks.", stale=picture.stale)


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
        stale=picture.stale,
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
            Text(("" if number else name).ljust(_LABEL) + part)
            for number, part in enumerate(chop_cells(text, room))
        ]
    return _filled(lines, place.lines)
