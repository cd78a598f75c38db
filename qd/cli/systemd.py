"""`qd systemd`: a unit for a worker of this installation."""

from __future__ import annotations

import math
import re
import shutil
import sys
from pathlib import Path

import click

from qd.cli.frame import Command
from qd.cli.session import Session, with_session
from qd.errors import ExitCode, UsageError

# What the supervisor needs after its own limit to put tasks back and end its children.
_MARGIN = 10

_UNIT = """\
[Unit]
Description=qd worker for {app}
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
NotifyAccess=main
User={user}
WorkingDirectory={folder}
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
# TERM goes to the supervisor alone, which stops its processes in order.
KillMode=mixed
# shutdown_timeout and {margin} s more.
TimeoutStopSec={stop}
WatchdogSec=30
Restart=always
RestartSec=1
# A wrong command line or a bad configuration does not become better by trying again.
RestartPreventExitStatus={usage} {config}
NoNewPrivileges=yes
ProtectSystem=full
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
"""


@click.command(
    "systemd",
    cls=Command,
    short_help="Print a systemd unit for a worker.",
    examples=(
        "qd systemd --app shop.tasks --user shop > qd.service",
        "qd systemd -c /etc/qd/qd.yaml --user shop | sudo tee /etc/systemd/system/qd.service",
    ),
)
@click.option("--app", metavar="MOD[:ATTR]", help="Your module; else `app` of the configuration.")
@click.option(
    "--user", metavar="NAME", default="qd", show_default=True, help="Whom the worker runs as."
)
@with_session
def systemd(session: Session, app: str | None, user: str) -> None:
    """
    Print a systemd unit for a worker.

    It runs this installation from the present folder, with the file of -c if there is one, and
    stops after the configured shutdown_timeout.
    """
    app = app or session.settings.app
    if not app:
        raise UsageError("No application is named.", hint="Use --app MODULE, or set `app`.")
    words = [_program(), "worker", "--app", app]
    if session.flags.config:
        words += ["-c", str(Path(session.flags.config).resolve())]
    unit = _UNIT.format(
        app=_escaped(app),
        user=_escaped(user),
        folder=_escaped(str(Path.cwd())),
        command=" ".join(map(_quoted, words)),
        margin=_MARGIN,
        stop=math.ceil(session.settings.worker.shutdown_timeout) + _MARGIN,
        usage=int(ExitCode.USAGE),
        config=int(ExitCode.CONFIG),
    )
    click.echo(unit, nl=False)


def _program() -> str:
    beside = Path(sys.executable).with_name("qd")
    return str(beside) if beside.exists() else shutil.which("qd") or "/usr/local/bin/qd"


def _escaped(text: str) -> str:
    if not text.isprintable():
        raise UsageError(f"{text!r} cannot stand in a unit: it has control characters")
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """Write a word of ExecStart, where % and $ mean something, as in systemd.service(5)."""
    word = _escaped(word).replace("$", "$$")
    if re.fullmatch(r"[\w./:@%$=+-]+", word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
