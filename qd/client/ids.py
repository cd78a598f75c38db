"""Task ids: random UUIDs (version 4), as asynq's client makes them."""

from __future__ import annotations

import os

# uuid.uuid4() asks the kernel every time and takes five times longer; this asks once for many.
_POOL = 16 * 256
_pool: list[str] = []

_VARIANT = "89ab"


def new_id() -> str:
    """Return a new id."""
    try:
        raw = _pool.pop()
    except IndexError:
        _refill()
        raw = _pool.pop()
    variant = _VARIANT[int(raw[16], 16) & 3]
    return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-{variant}{raw[17:20]}-{raw[20:]}"


def _refill() -> None:
    block = os.urandom(_POOL).hex()
    _pool.extend(block[i : i + 32] for i in range(0, len(block), 32))


# A child that kept its parent's pool would make the same ids.
os.register_at_fork(after_in_child=_pool.clear)
