"""`qd version`: what a report about a problem should name."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from qd import __version__
from qd.cli.frame import Command
from qd.cli.session import Session, with_session

_LIBRARIES = ("redis", "hiredis", "click", "rich", "msgspec", "uvloop", "pyyaml")
_ASYNQ = "0.26"


@click.command(
    "version",
    cls=Command,
    short_help="Show the versions of qd, Python and the libraries.",
    examples=("qd version", "qd version --json"),
)
@with_session
def version(session: Session) -> None:
    """
    Show the versions of qd, Python and the libraries.

    The version of Redis is in `qd stats` and `qd doctor`.
    """
    facts = {
        "qd": __version__,
        "asynq wire format": _ASYNQ,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    facts |= {name: _installed(name) for name in _LIBRARIES}
    document = {name.replace(" ", "_"): value for name, value in facts.items()}
    session.out.one("qd.version/1", "versions", document, dict(facts))


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"
