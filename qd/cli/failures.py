"""How an error leaves the program: one line with what and why, one with what to try, and a code."""

from __future__ import annotations

import sys
import traceback

import click

from qd.config.secrets import mask_url
from qd.errors import ConfigError, ExitCode, QdError

INTERRUPTED = 130
BROKEN_PIPE = 141
"""What a shell sees of a program that a signal ended: 128 and the number of INT or PIPE."""


def report(error: BaseException, *, debug: bool) -> int:
    """Write `error` to stderr and return the exit code of the process."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        click.echo("qd: interrupted", err=True)
        return INTERRUPTED
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, ConfigError):
        for problem in error.problems:
            _say(problem)
        return _with_hint(error)
    if isinstance(error, QdError):
        _say(str(error))
        return _with_hint(error)
    if isinstance(error, click.UsageError):
        _say(error.format_message())
        command = error.ctx.command_path if error.ctx is not None else "qd"
        click.echo(f"hint: {command} --help", err=True)
        return ExitCode.USAGE
    if isinstance(error, click.ClickException):
        _say(error.format_message())
        return error.exit_code
    _say(f"internal error: {type(error).__name__}: {error}")
    if not debug:
        click.echo("hint: run again with --debug to see where it happened", err=True)
    return ExitCode.FAILED


def _say(text: str) -> None:
    click.echo(f"qd: {mask_url(_printable(text))}", err=True)


def _with_hint(error: QdError) -> int:
    if error.hint:
        click.echo(f"hint: {mask_url(_printable(error.hint))}", err=True)
    return error.exit_code


def _printable(text: str) -> str:
    from qd.cli.render import printable

    return "\n".join(map(printable, text.splitlines()))
