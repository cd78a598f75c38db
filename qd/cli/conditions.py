"""What a payload must be like: `user.id=42`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qd import jsoncodec

_NOTHING = object()


@dataclass(frozen=True, slots=True)
class Condition:
    """A place in a JSON payload, and the value it must have: as JSON, or as text as it was typed."""

    path: tuple[str, ...]
    wanted: str

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Raises ValueError if the text is not `path=value`."""
        path, sign, wanted = text.partition("=")
        parts = tuple(path.split("."))
        if not sign or not all(parts):
            raise ValueError(f'"{text}" is not a condition; write one such as user.id=42')
        return cls(parts, wanted)

    def holds(self, payload: Any) -> bool:
        """Tell whether it holds for a decoded payload."""
        found = payload
        for part in self.path:
            found = _step(found, part)
        if found is _NOTHING:
            return False
        if isinstance(found, str):
            return found == self.wanted
        try:
            wanted = jsoncodec.loads(self.wanted)
        except ValueError:
            return False
        # In Python True is 1; in JSON it is not.
        return bool(found == wanted) and isinstance(found, bool) == isinstance(wanted, bool)


def all_hold(conditions: tuple[Condition, ...], payload: bytes) -> bool:
    """Tell whether all conditions hold; a payload that is not JSON meets none."""
    try:
        content = jsoncodec.loads(payload)
    except (ValueError, RecursionError):
        return False
    return all(one.holds(content) for one in conditions)


def _step(value: Any, part: str) -> Any:
    if isinstance(value, dict):
        return value.get(part, _NOTHING)
    if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
        return value[int(part)]
    return _NOTHING
