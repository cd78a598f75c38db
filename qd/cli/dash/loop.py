"""The dashboard at work: keys and time in, the screen out."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console
from rich.live import Live

from qd.cli.dash.draw import screen
from qd.cli.dash.picture import Looker
from qd.cli.dash.rates import Rates
from qd.cli.dash.state import State
from qd.cli.dash.terminal import Keyboard
from qd.inspector.inspector import Inspector

_PATIENCE = 0.25
"""Seconds in which a changed size of the terminal is noticed."""


def run(inspector: Inspector, *, prefix: str, every: float, color: bool) -> None:
    """
    Show the dashboard on this terminal until somebody quits, with a look each *every* seconds.

    The terminal is left as it was found, whatever happens. Redis away is shown, and waited for.
    """
    looker, state, rates = Looker(inspector, prefix), State(), Rates()
    # Not `color_system=None`: the cursor is shown in reverse, which is no colour.
    console = Console(
        color_system="standard", no_color=not color, force_terminal=True, highlight=False
    )
    with (
        _ended_by_signals(),
        Keyboard() as keyboard,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while not state.quit:
            picture = looker.look(state)
            if not picture.stale:
                rates.add(picture.queues, time.monotonic())
            state.show(picture.rows(state.page))
            look_at = time.monotonic() + every
            drawn: os.terminal_size | None = None
            while True:
                size = os.get_terminal_size(sys.stdout.fileno())
                if size != drawn:
                    console.size = size
                    live.update(
                        screen(
                            state,
                            picture,
                            rates,
                            width=size.columns,
                            height=size.lines,
                            now=datetime.now(UTC),
                        ),
                        refresh=True,
                    )
                    drawn = size
                key = keyboard.wait(min(look_at - time.monotonic(), _PATIENCE))
                if key is not None:
                    act = state.press(key, page_size=max(size.lines - 8, 1))
                    if act is not None:
                        state.message = looker.act(act)
                    break
                if time.monotonic() >= look_at:
                    break


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Whoever stops the program gets a terminal that works, too."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
