"""The payload of `qd enqueue`: JSON, a file, stdin, or `k=v` pairs."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qd import jsoncodec
from qd.errors import UsageError

_PAIR = re.compile(r"([\w.-]+)=(.*)", re.DOTALL)
_FORMS = "write JSON, k=v pairs, @file for a file, or - for stdin"


def read_payload(words: Sequence[str]) -> Any:
    """
    Return what was typed behind the task type: None for nothing, bytes as they are, or a mapping.

    Raises:
        UsageError: It is none of the forms, or a file cannot be read.
    """
    if not words:
        return None
    if len(words) == 1:
        word = words[0]
        if word == "-":
            return _trimmed(sys.stdin.buffer.read())
        if word.startswith("@"):
            return _trimmed(_read(word[1:]))
        if is_json(word.encode()):
            return word.encode()
    return _mapping(words)


def is_json(data: bytes) -> bool:
    """Tell whether bytes are one JSON document."""
    try:
        jsoncodec.loads(data)
    except ValueError:
        return False
    return True


def _mapping(words: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in words:
        match = _PAIR.fullmatch(word)
        if match is None:
            what = "is not JSON" if len(words) == 1 else "is not k=v"
            raise UsageError(f"the payload {word!r} {what}", hint=_FORMS)
        name, text = match.groups()
        if name in found:
            raise UsageError(f'"{name}" is given twice', hint="write a list as tags=[1,2]")
        try:
            found[name] = jsoncodec.loads(text.encode())
        except ValueError:
            found[name] = text
    return found


def _read(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"the payload cannot be read from {name!r}: {error.strerror}") from error


def _trimmed(data: bytes) -> bytes:
    """The line break that shells and editors put at the end is no part of JSON."""
    return data.strip() if is_json(data) else data
