"""
Protobuf's wire format: fields as bytes, one by one. `codec` makes messages of them.

Defaults are left out on writing, except where a function says "always". What cannot be read raises
IndexError or DecodeError.
"""

from __future__ import annotations

from collections.abc import Iterator

from qd.errors import DecodeError

_GO_ZERO_SECONDS = -62135596800
_NS = 1_000_000_000
_UINT64 = 2**64

Value = int | bytes | None
"""Of a field: a varint, a length-delimited one, or one of a fixed size, which asynq does not use."""


_SHORT = tuple(bytes((value,)) for value in range(0x80))
"""Varints of one byte."""


def varint(value: int) -> bytes:
    if value < 0:
        value += _UINT64
    if value < 0x80:
        return _SHORT[value]
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number_field(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value) if value else b""


def prefix(field: int, size: int) -> bytes:
    """What stands before *size* bytes of a length-delimited field."""
    return varint(field << 3 | 2) + varint(size)


def always_field(field: int, value: bytes) -> bytes:
    return prefix(field, len(value)) + value


def bytes_field(field: int, value: bytes) -> bytes:
    return always_field(field, value) if value else b""


def text_field(field: int, value: str) -> bytes:
    return always_field(field, value.encode()) if value else b""


def timestamp_field(field: int, ns: int | None) -> bytes:
    # Always written: readers of asynq v0.24 drop a record that lacks a timestamp.
    seconds, nanos = (_GO_ZERO_SECONDS, 0) if ns is None else divmod(ns, _NS)
    return always_field(field, number_field(1, seconds) + number_field(2, nanos))


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        try:
            byte = data[at]
        except IndexError:
            raise DecodeError("message is cut short") from None
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (_UINT64 - 1), at
        shift += 7
        if shift > 63:
            raise DecodeError("varint of more than ten bytes")


def read_fields(data: bytes) -> Iterator[tuple[int, Value, bytes]]:
    """Yield (field number, value, raw bytes of the field) of a message; raises DecodeError."""
    at, end = 0, len(data)
    while at < end:
        start = at
        tag, at = read_varint(data, at)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise DecodeError(f"field number {number}")
        value: Value = None
        if kind == 0:
            value, at = read_varint(data, at)
        elif kind == 2:
            size, at = read_varint(data, at)
            value = data[at : at + size]
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise DecodeError(f"field {number} has wire type {kind}")
        if at > end:
            raise DecodeError("message is cut short")
        yield number, value, data[start:at]


def skim(data: bytes) -> dict[int, int | bytes]:
    """
    Return the plain and length-delimited fields by number, as they stand; of repeated ones the last.

    For those who want to know a few fields of very many messages. Raises DecodeError.
    """
    found: dict[int, int | bytes] = {}
    at, end = 0, len(data)
    try:
        while at < end:
            tag = data[at]
            if tag > 0x7F:
                tag, at = read_varint(data, at)
            else:
                at += 1
            value = data[at]
            if value <= 0x7F:
                at += 1
            elif data[at + 1] <= 0x7F:
                value = value & 0x7F | data[at + 1] << 7
                at += 2
            else:
                value, at = read_varint(data, at)
            kind = tag & 7
            if kind == 2:
                found[tag >> 3] = data[at : at + value]
                at += value
            elif kind == 0:
                found[tag >> 3] = value
            else:
                raise DecodeError(f"field {tag >> 3} has wire type {kind}")
    except IndexError:
        raise DecodeError("message is cut short") from None
    return found


def as_signed(value: Value, bits: int = 64) -> int:
    if not isinstance(value, int):
        raise DecodeError("something else where a number belongs")
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def as_bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise DecodeError("something else where bytes belong")
    return value


def as_text(value: Value) -> str:
    # Go refuses invalid UTF-8 in string fields, so do we.
    try:
        return as_bytes(value).decode()
    except UnicodeDecodeError as error:
        raise DecodeError(f"text that is not UTF-8: {error}") from error


def as_timestamp(value: Value) -> int | None:
    seconds = nanos = 0
    for number, part, _ in read_fields(as_bytes(value)):
        if number == 1:
            seconds = as_signed(part)
        elif number == 2:
            nanos = as_signed(part, 32)
    return None if seconds == _GO_ZERO_SECONDS else seconds * _NS + nanos


def as_pair(value: Value) -> tuple[Value, Value]:
    key: Value = b""
    content: Value = b""
    for number, part, _ in read_fields(as_bytes(value)):
        if number == 1:
            key = part
        elif number == 2:
            content = part
    return key, content
