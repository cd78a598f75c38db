"""
What long work shows on stderr: a bar with rate and time left, and how far it got when it is stopped.

Without a terminal there is no bar.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import click

from qd.cli.render import printable

if TYPE_CHECKING:
    from rich.progress import Progress

    from qd.protocol.progress import Progress as TaskProgress


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """
    Give a function that moves the bar on; `total` is None if the end is not known.

    When the user interrupts the work, it is said how many were done.
    """
    done = 0
    bar = _bar() if sys.stderr.isatty() else None
    task = bar.add_task(label, total=total) if bar is not None else None

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if bar is not None and task is not None:
            bar.advance(task, count)

    try:
        if bar is None:
            yield advance
        else:
            with bar:
                yield advance
    except KeyboardInterrupt:
        of_all = "" if total is None else f" of {total:,}"
        click.echo(f"{label}: interrupted after {done:,}{of_all}", err=True)
        raise


@contextmanager
def task_bar() -> Iterator[Callable[[TaskProgress | None], None]]:
    """Give a function that shows how far a task says it is: a bar, once it has said something."""
    bar = _bar() if sys.stderr.isatty() else None
    if bar is None:
        yield lambda _: None
        return
    with bar:
        shown = bar.add_task("", total=None, visible=False)

        def show(said: TaskProgress | None) -> None:
            if said is not None:
                note = printable(said.note)
                bar.update(
                    shown, description=note, completed=said.done, total=said.total, visible=True
                )

        yield show


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """
    Let Ctrl-C end a step only when the caller asks for it, with the function that is given.

    A second Ctrl-C interrupts as usual.
    """
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, before)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:,.0f}/s")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        transient=True,
    )
