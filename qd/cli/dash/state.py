"""
What is on the screen, and what a key changes. Pure: keys in, actions out.

The loop tells it how long the present list is (`rows`); it never asks anybody.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from qd.protocol.state import TaskState

STATES = (
    TaskState.PENDING,
    TaskState.ACTIVE,
    TaskState.SCHEDULED,
    TaskState.RETRY,
    TaskState.ARCHIVED,
    TaskState.COMPLETED,
    TaskState.AGGREGATING,
)


class Page(StrEnum):
    QUEUES = "queues"
    WORKERS = "workers"
    FAILURES = "failures"
    TASKS = "tasks"
    TASK = "task"


TABS = (Page.QUEUES, Page.WORKERS, Page.FAILURES)


class Verb(StrEnum):
    """What the loop is to do with the row under the cursor."""

    PAUSE = "pause or resume"
    RUN = "run"
    CANCEL = "cancel"
    ARCHIVE = "archive"
    DELETE = "delete"


@dataclass(frozen=True)
class Row:
    """What stands under the cursor: a queue, or a task in one."""

    queue: str
    task_id: str = ""


@dataclass(frozen=True)
class Act:
    """An action somebody asked for, and confirmed where it destroys."""

    verb: Verb
    row: Row


_VERBS = {
    Page.QUEUES: {"p": Verb.PAUSE},
    Page.WORKERS: {"c": Verb.CANCEL},
    Page.FAILURES: {"r": Verb.RUN, "a": Verb.ARCHIVE, "x": Verb.DELETE},
    Page.TASKS: {"r": Verb.RUN, "c": Verb.CANCEL, "a": Verb.ARCHIVE, "x": Verb.DELETE},
    Page.TASK: {"r": Verb.RUN, "c": Verb.CANCEL, "a": Verb.ARCHIVE, "x": Verb.DELETE},
}
_SENSELESS = {
    TaskState.PENDING: {Verb.RUN, Verb.CANCEL},
    TaskState.ACTIVE: {Verb.RUN, Verb.ARCHIVE, Verb.DELETE},
    TaskState.SCHEDULED: {Verb.CANCEL},
    TaskState.RETRY: {Verb.CANCEL},
    TaskState.ARCHIVED: {Verb.CANCEL, Verb.ARCHIVE},
    TaskState.COMPLETED: {Verb.CANCEL, Verb.ARCHIVE},
    TaskState.AGGREGATING: {Verb.CANCEL},
}
"""What cannot be done to a task in this state."""

_ASKS_FIRST = (Verb.DELETE, Verb.CANCEL)

HELP = {
    "↑ ↓, k j": "move; also Page Up, Page Down, Home, End",
    "↵": "open the queue or the task",
    "esc": "back",
    "1 2 3, tab": "queues, workers, failures",
    "← →, h l": "tasks of a queue: those in another state",
    "p": "pause the queue, or let it go on",
    "r": "run the task now, be it delayed, to be retried or dead",
    "c": "cancel the task that runs; asks first",
    "a": "archive the task: to the dead letters",
    "x": "delete the task; asks first",
    "q": "quit",
}


@dataclass
class State:
    """The screen's own memory."""

    page: Page = Page.QUEUES
    cursor: int = 0
    queue: str = ""
    task_state: TaskState = TaskState.PENDING
    task: Row | None = None
    message: str = ""
    asking: Act | None = None
    helping: bool = False
    quit: bool = False
    rows: list[Row] = field(default_factory=list)
    _came_from: list[tuple[Page, int]] = field(default_factory=list)

    @property
    def subject(self) -> tuple[object, ...]:
        """What the page is about; a picture of something else does not belong on it."""
        return self.page, self.queue, self.task_state, self.task

    @property
    def row(self) -> Row | None:
        """What the cursor is on."""
        if self.page is Page.TASK:
            return self.task
        return self.rows[self.cursor] if self.cursor < len(self.rows) else None

    def show(self, rows: list[Row]) -> None:
        """The present list has these rows now; the cursor stays on its row where that is left."""
        under = self.row
        self.rows = rows
        if under in rows:
            self.cursor = rows.index(under)
        self.cursor = max(0, min(self.cursor, len(rows) - 1))

    def keys(self) -> dict[str, str]:
        """The keys that do something here, with what they do."""
        if self.asking is not None:
            return {"y": f"yes, {self.asking.verb.value}", "other keys": "no"}
        if self.helping:
            return {"any key": "close"}
        keys = {key: verb.value for key, verb in self._verbs().items()}
        if self.page is Page.TASKS:
            keys["← →"] = "state"
        keys |= {"esc": "back"} if self._came_from else {"tab": "next page"}
        if self.page is not Page.TASK:
            keys["↵"] = "open"
        return keys | {"?": "help", "q": "quit"}

    def _verbs(self) -> dict[str, Verb]:
        senseless = _SENSELESS[self.task_state] if self.page is Page.TASKS else set()
        return {key: verb for key, verb in _VERBS[self.page].items() if verb not in senseless}

    def press(self, key: str, page_size: int = 10) -> Act | None:
        """Take in a key; returns what is to be done, if anything is."""
        self.message = ""
        if self.asking is not None:
            asked, self.asking = self.asking, None
            return asked if key == "y" else None
        if self.helping and key != "ctrl-c":
            self.helping = False
            return None
        match key:
            case "?":
                self.helping = True
            case "q" | "ctrl-c":
                self.quit = True
            case "up" | "k":
                self._move(-1)
            case "down" | "j":
                self._move(+1)
            case "page-up":
                self._move(-page_size)
            case "page-down":
                self._move(+page_size)
            case "home":
                self._move(-len(self.rows))
            case "end":
                self._move(+len(self.rows))
            case "tab" if not self._came_from:
                self._go(TABS[(TABS.index(self.page) + 1) % len(TABS)])
            case "1" | "2" | "3":
                self._came_from.clear()
                self._go(TABS[int(key) - 1])
            case "left" | "h" if self.page is Page.TASKS:
                self._next_state(-1)
            case "right" | "l" if self.page is Page.TASKS:
                self._next_state(+1)
            case "enter":
                self._open()
            case "esc" | "backspace":
                self._back()
            case _:
                return self._verb(key)
        return None

    def _verb(self, key: str) -> Act | None:
        verb, row = self._verbs().get(key), self.row
        if verb is None or row is None:
            return None
        act = Act(verb, row)
        if verb in _ASKS_FIRST:
            self.asking = act
            return None
        return act

    def _move(self, by: int) -> None:
        self.cursor = max(0, min(self.cursor + by, len(self.rows) - 1))

    def _go(self, page: Page) -> None:
        self.page, self.cursor, self.rows = page, 0, []

    def _next_state(self, by: int) -> None:
        at = STATES.index(self.task_state) + by
        self.task_state = STATES[at % len(STATES)]
        self._go(Page.TASKS)

    def _open(self) -> None:
        row = self.row
        if row is None or self.page is Page.TASK:
            return
        self._came_from.append((self.page, self.cursor))
        if self.page is Page.QUEUES:
            self.queue = row.queue
            self._go(Page.TASKS)
        else:
            self.task = row
            self._go(Page.TASK)

    def _back(self) -> None:
        if self._came_from:
            page, cursor = self._came_from.pop()
            self._go(page)
            self.cursor = cursor
