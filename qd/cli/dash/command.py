"""`qd dash`: a full-screen view of queues, workers and failures."""

from __future__ import annotations

import os
import sys

import click

from qd.cli.frame import Command
from qd.cli.session import Session, with_session
from qd.cli.types import DURATION
from qd.errors import UsageError


@click.command(
    "dash",
    cls=Command,
    short_help="Watch queues, workers and failures on a full screen, and act.",
    examples=("qd dash", "qd dash --every 5s"),
)
@click.option(
    "--every", type=DURATION, default="1s", show_default=True, help="Look at Redis this often."
)
@with_session
def dash(session: Session, every: float) -> None:
    """
    Watch queues, workers and failures on a full screen, and act.

    The keys that do something are shown in the last line, and all of them by ?. Arrows or j and k
    move, Enter opens a queue or a task, Esc goes back. Cancelling and deleting ask first.
    """
    from qd.cli.dash.loop import run

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "qd dash needs a terminal to draw on, and standard input or output is none",
            hint="For programs there is `qd queue ls --json`.",
        )
    if os.environ.get("TERM", "dumb") in ("", "dumb", "unknown"):
        raise UsageError(
            f"qd dash draws on the whole screen, which a terminal of the kind "
            f"TERM={os.environ.get('TERM', '')} cannot",
            hint="Set TERM to what the terminal is, such as xterm, or use `qd stats`.",
        )
    run(
        session.inspector,
        prefix=session.settings.queue_prefix,
        every=max(every, 0.2),
        color=session.out.color,
    )
