"""`qd config`: write, check and show the configuration. Redis is not asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from qd.cli import candidates
from qd.cli.frame import Group, files
from qd.cli.render import Column, as_json
from qd.cli.session import Session, with_session
from qd.errors import NotFound, UsageError
from qd.suggest import did_you_mean


@click.command(
    "config",
    cls=Group,
    short_help="Write, check or show the configuration.",
    examples=("qd config init", "qd config check -c /etc/qd/qd.yaml", "qd config show redis"),
)
def config() -> None:
    """
    Write, check or show the configuration.

    Flags win over --set a.b=c, then the environment (QD_WORKER__CONCURRENCY=20), then the file,
    then the defaults. The file is that of -c, else QD_CONFIG, else ./qd.yaml, else
    /etc/qd/qd.yaml.
    """


@config.command("init", examples=("qd config init", "qd config init - | less"))
@click.argument("file", default="qd.yaml", shell_complete=files)
@with_session
def init(session: Session, file: str) -> None:
    """
    Write a file that shows every setting, commented, at its default.

    FILE is qd.yaml unless given; - is stdout. A file that exists is not overwritten.
    """
    from qd.config.template import render_template

    text = render_template()
    if file == "-":
        click.echo(text, nl=False)
        return
    try:
        with Path(file).open("x", encoding="utf-8") as target:
            target.write(text)
    except FileExistsError as error:
        raise UsageError(
            f'"{file}" exists and is not overwritten', hint="Name another file, or - for stdout."
        ) from error
    except OSError as error:
        raise UsageError(f'"{file}" cannot be written: {error.strerror}') from error
    session.out.result("qd.config.init/1", {"file": file}, f"{file} written", file)


@config.command("check", examples=("qd config check", "qd config check -c /etc/qd/qd.yaml"))
@with_session
def check(session: Session) -> None:
    """
    Read the configuration and report all problems at once.

    Each with its file, line and column, and what to write instead. Exit code 78 if there are any.
    """
    loaded = session.loaded
    file = None if loaded.path is None else str(loaded.path)
    where = f"{file} and the environment" if file else "There is no file; the environment"
    session.out.result(
        "qd.config.check/1",
        {"file": file, "problems": []},
        f"{where}: no problems",
        file or "",
    )


@config.command(
    "show", examples=("qd config show", "qd config show worker", "qd config show redis --json")
)
@click.argument("key", metavar="[KEY]", required=False, shell_complete=candidates.settings)
@with_session
def show(session: Session, key: str | None) -> None:
    """
    Show each setting that applies, and where it came from.

    Passwords are shown as ***. KEY is a setting or a section, such as worker.concurrency or redis.
    """
    from qd.config.dump import dump, flatten

    loaded = session.loaded
    flat = flatten(dump(loaded.settings, loaded.origins))
    found = [
        (name, value, loaded.origins.get(name, "default"))
        for name, value in flat.items()
        if key is None or name == key or name.startswith(f"{key}.")
    ]
    if not found:
        sections = {name.partition(".")[0] for name in flat}
        raise NotFound(
            f'No setting is called "{key}".{did_you_mean(key or "", [*flat, *sections])}',
            hint="`qd config show` lists them all.",
        )
    columns: list[Column[tuple[str, Any, str]]] = [
        Column("KEY", lambda row: row[0]),
        Column("VALUE", lambda row: row[1] if isinstance(row[1], str) else as_json(row[1])),
        Column("FROM", lambda row: row[2]),
    ]
    session.out.rows(
        "qd.config.show/1",
        "settings",
        found,
        columns,
        lambda row: {"key": row[0], "value": row[1], "from": row[2]},
        empty="",
    )
