"""What became of several things that were named: some done, some refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

from qd.cli.session import Session
from qd.errors import BrokerUnavailable, ExitCode, QdError


def act_on_each(
    session: Session,
    schema: str,
    names: Iterable[str],
    act: Callable[[str], tuple[Mapping[str, Any], str]],
) -> None:
    """
    Act on each name and show what was done; `act` returns the document and the sentence.

    A refusal does not keep the others from being done. It ends with exit code 4 then, and with
    the refusal's own if nothing was done.
    """
    done: list[Mapping[str, Any]] = []
    refused: list[tuple[str, QdError]] = []
    for name in dict.fromkeys(names):
        try:
            document, sentence = act(name)
        except BrokerUnavailable:
            raise
        except QdError as error:
            refused.append((name, error))
            continue
        done.append(document)
        if session.out.machine:
            continue
        session.out.result(schema, document, sentence, name)
    if not done and len(refused) == 1:
        raise refused[0][1]
    if session.out.machine:
        _show(session, schema, done, refused)
    for _, refusal in refused:
        session.out.say(f"qd: {refusal}")
    if refused:
        code = ExitCode.PARTLY if done else refused[0][1].exit_code
        click.get_current_context().exit(code)


def _show(
    session: Session,
    schema: str,
    done: list[Mapping[str, Any]],
    refused: list[tuple[str, QdError]],
) -> None:
    failures = [{"name": name, "error": str(error)} for name, error in refused]
    if session.out.form == "json":
        session.out.result(schema, {"done": done, "refused": failures}, "", "")
    else:
        for document in (*done, *failures):
            session.out.result(schema, document, "", "")
