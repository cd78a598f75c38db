"""JSON comes from others: whatever it is, what reads it raises ValueError or has a value."""

from __future__ import annotations

import pytest

from qd import jsoncodec


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 50_000])
def test_what_is_no_json_or_too_deep_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"JSON|input|byte|truncated"):
        jsoncodec.loads(data)
