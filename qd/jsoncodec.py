"""JSON <-> bytes: one place that names the library (msgspec, for typed payloads and speed)."""

from __future__ import annotations

from typing import Any

import msgspec

_encoder = msgspec.json.Encoder(enc_hook=lambda value: _foreign(value))
_decoder = msgspec.json.Decoder()


def dumps(value: Any) -> bytes:
    """
    Return *value* as compact JSON.

    Takes what JSON has, dataclasses, TypedDicts, msgspec structs, pydantic models, datetimes,
    UUIDs, enums, decimals.

    Raises:
        TypeError: A value has no JSON form; the text names its type.
    """
    return _encoder.encode(value)


def loads(data: bytes | str) -> Any:
    """Return the value in *data*; raises ValueError when it is not JSON, or nested too deeply."""
    try:
        return _decoder.decode(data)
    except RecursionError as error:
        raise ValueError("JSON that is nested too deeply") from error


def _foreign(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no JSON form; pass plain data or a dataclass")
