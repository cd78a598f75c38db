"""Task ids: random UUIDs (version 4), as asynq's client makes them."""

from __future__ import annotations

import os

# Made a few hundred at once, column by column: uuid.uuid4() asks the kernel every time and takes
# ten times longer.
_POOL = 256
_pool: list[str] = []

_VERSION = bytes(byte & 0x0F | 0x40 for byte in range(256))
_VARIANT = bytes(byte & 0x3F | 0x80 for byte in range(256))
_LENGTH = 36
_DIGITS = [column for column in range(_LENGTH) if column not in (8, 13, 18, 23)]


def new_id() -> str:
    """Return a new id."""
    try:
        return _pool.pop()
    except IndexError:
        _pool.extend(_make(_POOL))
        return _pool.pop()


def _make(count: int) -> list[str]:
    raw = bytearray(os.urandom(16 * count))
    raw[6::16] = raw[6::16].translate(_VERSION)
    raw[8::16] = raw[8::16].translate(_VARIANT)
    digits = raw.hex().encode()
    text = bytearray(b"-" * (_LENGTH * count))
    for source, column in enumerate(_DIGITS):
        text[column::_LENGTH] = digits[source::32]
    whole = text.decode()
    return [whole[start : start + _LENGTH] for start in range(0, len(whole), _LENGTH)]


# A child that kept its parent's pool would make the same ids.
os.register_at_fork(after_in_child=_pool.clear)
