"""Sizes in bytes as people write them: `512KiB`, `1MiB`, `2GiB`, `1MB`, or a number of bytes."""

from __future__ import annotations

import re

_FACTORS = {
    "b": 1,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.ASCII | re.IGNORECASE)
_SHORT_UNITS = {"k": "KiB", "m": "MiB", "g": "GiB"}


def parse_size(text: str) -> int:
    """
    Read a size and return its bytes. A number without a unit is a number of bytes.

    Raises:
        ValueError: The text is not a size; the message says what to write instead.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is not None:
        number, unit = match[1], match[2].lower()
        if unit in _FACTORS:
            return round(float(number) * _FACTORS[unit])
        if not unit and "." not in number:
            return int(number)
        if unit in _SHORT_UNITS:
            raise ValueError(f'"{text}" is not a size: write {number}{_SHORT_UNITS[unit]}')
    raise ValueError(f'"{text}" is not a size: write bytes, or a unit as in 512KiB or 1MiB')


def format_size(size: int) -> str:
    """Write bytes with the largest binary unit that needs no fraction: 1048576 -> `1MiB`."""
    for unit in ("GiB", "MiB", "KiB"):
        count, rest = divmod(size, _FACTORS[unit.lower()])
        if count and not rest:
            return f"{count}{unit}"
    return str(size)
