"""Before something is destroyed: say how much, show three of it, and ask."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import click

from qd.cli.render import printable
from qd.errors import ExitCode, NeedsConfirmation

SAMPLE = 3


def confirm(question: str, sample: Iterable[str], *, yes: bool) -> None:
    """
    Show `sample`, ask `question`, such as `Delete 5 tasks?`, and return if the answer is yes.

    A no ends the command with exit code 1.

    Raises:
        NeedsConfirmation: Nobody can answer, and -y was not given.
    """
    if yes:
        return
    for line in sample:
        click.echo(f"  {printable(line)}", err=True)
    if not sys.stdin.isatty():
        raise NeedsConfirmation(
            f"{printable(question)} Nobody can be asked: stdin is not a terminal",
            hint="Repeat the command with -y.",
        )
    if not click.confirm(printable(question), default=False, err=True):
        click.echo("Nothing was changed.", err=True)
        click.get_current_context().exit(ExitCode.FAILED)
