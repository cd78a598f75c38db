"""How calls of the tests become asynqctl's flags and JSON, and how its answers come back."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class AsynqError(Exception):
    """asynq refused; `kind` is one of the words listed in asynq.py."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(f"{text} ({kind})")
        self.kind = kind


def from_b64(value: str | None) -> bytes | None:
    """The bytes of a `..._b64` value; nil stays None."""
    return None if value is None else base64.b64decode(value)


def parsed(text: str) -> Any:
    document = json.loads(text)
    if isinstance(document, dict) and document.keys() == {"error", "kind"}:
        raise AsynqError(document["error"], document["kind"])
    return document


def flags(options: Mapping[str, Any]) -> list[str]:
    return [f"--{_flag(name)}={text}" for name, text in _flag_values(options)]


def _flag(name: str) -> str:
    return {"headers": "header"}.get(name, name).replace("_", "-")


def _flag_values(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in json_values(options).items():
        match value:
            case bool():
                yield name, "true" if value else "false"
            case dict() if name == "queues":
                yield name, ",".join(f"{queue}={weight}" for queue, weight in value.items())
            case dict():
                yield from ((name, f"{key}={text}") for key, text in value.items())
            case list():
                yield from ((name, text) for text in value)
            case _:
                yield name, str(value)


def json_values(options: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is None, and put into JSON what it has no type for."""
    converted: dict[str, Any] = {}
    for name, value in options.items():
        match value:
            case None:
                continue
            case bytes():
                converted[f"{name}_b64"] = base64.b64encode(value).decode()
            case dt.timedelta():
                converted[name] = value.total_seconds()
            case dt.datetime():
                converted[name] = value.isoformat()
            case Path():
                converted[name] = str(value)
            case _:
                converted[name] = value
    return converted
