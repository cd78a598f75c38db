"""
Bytes <-> messages: the only file that knows protobuf.

Written by hand because it is five times quicker than the library for these messages and keeps the
fields it does not know; the tests hold it against google.protobuf. Field numbers:
internal/proto/asynq.proto. Fields are written in ascending order, defaults are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from qd.errors import DecodeError
from qd.protocol.message import (
    EnqueueEvent,
    SchedulerEntry,
    ServerInfo,
    TaskMessage,
    Terms,
    WorkerInfo,
)

_GO_ZERO_SECONDS = -62135596800
_NS = 1_000_000_000
_UINT64 = 2**64

# Messages of one task type and one set of options differ in payload and id only. What follows the
# id is therefore parsed once and looked up by its bytes afterwards. Long ones hold the text of an
# error or a trace, and do not come again.
_TAILS_MAX = 4096
_TAIL_BYTES_MAX = 256
_tails: dict[bytes, Terms] = {}

Value = int | bytes | None
"""Of a field: a varint, a length-delimited one, or one of a fixed size, which asynq does not use."""


# --- writing ------------------------------------------------------------------------------------


def _varint(value: int) -> bytes:
    if value < 0:
        value += _UINT64
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value) if value else b""


def _always(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _bytes(field: int, value: bytes) -> bytes:
    return _always(field, value) if value else b""


def _text(field: int, value: str) -> bytes:
    return _always(field, value.encode()) if value else b""


def _timestamp(field: int, ns: int | None) -> bytes:
    # Always written: readers of asynq v0.24 drop a record that lacks a timestamp.
    seconds, nanos = (_GO_ZERO_SECONDS, 0) if ns is None else divmod(ns, _NS)
    return _always(field, _number(1, seconds) + _number(2, nanos))


def _headers(items: Iterable[tuple[str, str]]) -> bytes:
    # Map entries carry key and value even when empty (Go does).
    return b"".join(_always(15, _always(1, k.encode()) + _always(2, v.encode())) for k, v in items)


def _encode_terms(terms: Terms) -> bytes:
    wire = b"".join(
        (
            _text(4, terms.queue),
            _number(5, terms.max_retry),
            _number(6, terms.retried),
            _text(7, terms.error),
            _number(8, terms.timeout),
            _number(9, terms.deadline),
            _text(10, terms.unique_key),
            _number(11, terms.last_failed_at),
            _number(12, terms.retention),
            _number(13, terms.completed_at),
            _text(14, terms.group),
            _headers(terms.headers),
            terms.unknown,
        )
    )
    object.__setattr__(terms, "wire", wire)
    return wire


def encode_task(message: TaskMessage) -> bytes:
    """Return the bytes of *message*, equal to what Go's encoder writes."""
    payload = message.payload
    return b"".join(
        (
            _text(1, message.type),
            _always(2, payload) if payload else b"",
            _text(3, message.id),
            message.terms.wire or _encode_terms(message.terms),
        )
    )


def encode_server(info: ServerInfo) -> bytes:
    queues = (_always(5, _always(1, name.encode()) + _varint(16) + _varint(weight))
              for name, weight in info.queues)  # fmt: skip
    return b"".join(
        (
            _text(1, info.host),
            _number(2, info.pid),
            _text(3, info.server_id),
            _number(4, info.concurrency),
            *queues,
            _number(6, info.strict_priority),
            _text(7, info.status),
            _timestamp(8, info.started_ns),
            _number(9, info.active_workers),
        )
    )


def encode_worker(info: WorkerInfo) -> bytes:
    return b"".join(
        (
            _text(1, info.host),
            _number(2, info.pid),
            _text(3, info.server_id),
            _text(4, info.task_id),
            _text(5, info.task_type),
            _bytes(6, info.task_payload),
            _text(7, info.queue),
            _timestamp(8, info.started_ns),
            _timestamp(9, info.deadline_ns),
        )
    )


def encode_entry(entry: SchedulerEntry) -> bytes:
    return b"".join(
        (
            _text(1, entry.id),
            _text(2, entry.spec),
            _text(3, entry.task_type),
            _bytes(4, entry.task_payload),
            *(_always(5, option.encode()) for option in entry.options),
            _timestamp(6, entry.next_ns),
            _timestamp(7, entry.prev_ns),
        )
    )


def encode_event(event: EnqueueEvent) -> bytes:
    return _text(1, event.task_id) + _timestamp(2, event.enqueued_ns)


# --- reading ------------------------------------------------------------------------------------


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
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


def _fields(data: bytes) -> Iterator[tuple[int, Value, bytes]]:
    """Yield (field number, value, raw bytes of the field) of a message; raises DecodeError."""
    at, end = 0, len(data)
    while at < end:
        start = at
        tag, at = _read_varint(data, at)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise DecodeError(f"field number {number}")
        value: Value = None
        if kind == 0:
            value, at = _read_varint(data, at)
        elif kind == 2:
            size, at = _read_varint(data, at)
            value = data[at : at + size]
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise DecodeError(f"field {number} has wire type {kind}")
        if at > end:
            raise DecodeError("message is cut short")
        yield number, value, data[start:at]


def _signed(value: Value, bits: int = 64) -> int:
    if not isinstance(value, int):
        raise DecodeError("something else where a number belongs")
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _raw(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise DecodeError("something else where bytes belong")
    return value


def _str(value: Value) -> str:
    # Go refuses invalid UTF-8 in string fields, so do we.
    try:
        return _raw(value).decode()
    except UnicodeDecodeError as error:
        raise DecodeError(f"text that is not UTF-8: {error}") from error


def _read_timestamp(value: Value) -> int | None:
    seconds = nanos = 0
    for number, part, _ in _fields(_raw(value)):
        if number == 1:
            seconds = _signed(part)
        elif number == 2:
            nanos = _signed(part, 32)
    return None if seconds == _GO_ZERO_SECONDS else seconds * _NS + nanos


def _read_pair(value: Value) -> tuple[Value, Value]:
    key: Value = b""
    content: Value = b""
    for number, part, _ in _fields(_raw(value)):
        if number == 1:
            key = part
        elif number == 2:
            content = part
    return key, content


_TERMS_NUMBERS = {
    5: "max_retry",
    6: "retried",
    8: "timeout",
    9: "deadline",
    11: "last_failed_at",
    12: "retention",
    13: "completed_at",
}
_INT32 = {5, 6}
_TERMS_TEXTS = {4: "queue", 7: "error", 10: "unique_key", 14: "group"}


def _decode_slowly(data: bytes) -> TaskMessage:
    """Decode fields in any order, as other encoders may write them."""
    type_ = task_id = ""
    payload = b""
    found: dict[str, int | str] = {"queue": ""}
    headers: dict[str, str] = {}
    unknown: list[bytes] = []
    for number, value, raw in _fields(data):
        if number == 1:
            type_ = _str(value)
        elif number == 2:
            payload = _raw(value)
        elif number == 3:
            task_id = _str(value)
        elif number in _TERMS_NUMBERS:
            found[_TERMS_NUMBERS[number]] = _signed(value, 32 if number in _INT32 else 64)
        elif number in _TERMS_TEXTS:
            found[_TERMS_TEXTS[number]] = _str(value)
        elif number == 15:
            key, content = _read_pair(value)
            headers[_str(key)] = _str(content)
        else:
            unknown.append(raw)
    terms = Terms(**found, headers=tuple(headers.items()), unknown=b"".join(unknown))  # type: ignore[arg-type]
    return TaskMessage(type_, payload, task_id, terms)


def decode_task(data: bytes) -> TaskMessage:
    """
    Return the message in *data*; fields this version does not know are kept.

    Raises:
        DecodeError: The bytes are no task message. Archive the task by its id and keep the bytes.
    """
    try:
        return _decode_quickly(data)
    except (IndexError, UnicodeDecodeError, DecodeError) as error:
        raise DecodeError(f"undecodable task message of {len(data)} bytes: {error}") from error


def _decode_quickly(data: bytes) -> TaskMessage:
    # The usual order: type, payload (may be absent), id. Anything else takes the slow way.
    if not data or data[0] != 0x0A:
        return _decode_slowly(data)
    size, at = _read_varint(data, 1) if data[1] > 0x7F else (data[1], 2)
    end = at + size
    type_ = data[at:end]
    payload = b""
    if data[end : end + 1] == b"\x12":
        size, at = _read_varint(data, end + 1) if data[end + 1] > 0x7F else (data[end + 1], end + 2)
        end = at + size
        payload = data[at:end]
    if data[end : end + 1] != b"\x1a":
        return _decode_slowly(data)
    size, at = _read_varint(data, end + 1) if data[end + 1] > 0x7F else (data[end + 1], end + 2)
    end = at + size
    if end > len(data):
        raise DecodeError("message is cut short")
    tail = data[end:]
    terms = _tails.get(tail)
    if terms is None:
        whole = _decode_slowly(data)
        said = (whole.type.encode(), whole.payload, whole.id.encode())
        if len(tail) <= _TAIL_BYTES_MAX and said == (type_, payload, data[at:end]):
            if len(_tails) >= _TAILS_MAX:
                _tails.clear()
            _tails[tail] = whole.terms
        return whole
    return TaskMessage(type_.decode(), payload, data[at:end].decode(), terms)


def with_terms(message: TaskMessage, **changes: int | str) -> TaskMessage:
    """Return a copy of *message* with some of its terms changed, unknown fields kept."""
    return TaskMessage(
        message.type,
        message.payload,
        message.id,
        replace(message.terms, **changes),  # type: ignore[arg-type]
    )


def decode_server(data: bytes) -> ServerInfo:
    """Return the ServerInfo in *data*; raises DecodeError."""
    text: dict[int, str] = {}
    number_: dict[int, int] = {}
    queues: dict[str, int] = {}
    started: int | None = None
    for number, value, _ in _fields(data):
        if number in (1, 3, 7):
            text[number] = _str(value)
        elif number == 5:
            name, weight = _read_pair(value)
            queues[_str(name)] = _signed(weight or 0, 32)
        elif number == 8:
            started = _read_timestamp(value)
        elif number in (2, 4, 6, 9):
            number_[number] = _signed(value, 32)
    return ServerInfo(
        host=text.get(1, ""),
        pid=number_.get(2, 0),
        server_id=text.get(3, ""),
        concurrency=number_.get(4, 0),
        queues=tuple(queues.items()),
        strict_priority=bool(number_.get(6, 0)),
        status=text.get(7, ""),
        started_ns=started or 0,
        active_workers=number_.get(9, 0),
    )


def decode_worker(data: bytes) -> WorkerInfo:
    """Return the WorkerInfo in *data*; raises DecodeError."""
    text: dict[int, str] = {}
    pid, payload, started, deadline = 0, b"", 0, None
    for number, value, _ in _fields(data):
        if number == 2:
            pid = _signed(value, 32)
        elif number == 6:
            payload = _raw(value)
        elif number == 8:
            started = _read_timestamp(value) or 0
        elif number == 9:
            deadline = _read_timestamp(value)
        elif number in (1, 3, 4, 5, 7):
            text[number] = _str(value)
    return WorkerInfo(
        host=text.get(1, ""),
        pid=pid,
        server_id=text.get(3, ""),
        task_id=text.get(4, ""),
        task_type=text.get(5, ""),
        task_payload=payload,
        queue=text.get(7, ""),
        started_ns=started,
        deadline_ns=deadline,
    )


def decode_entry(data: bytes) -> SchedulerEntry:
    """Return the SchedulerEntry in *data*; raises DecodeError."""
    text: dict[int, str] = {}
    payload, options = b"", []
    moments: dict[int, int | None] = {}
    for number, value, _ in _fields(data):
        if number == 4:
            payload = _raw(value)
        elif number == 5:
            options.append(_str(value))
        elif number in (6, 7):
            moments[number] = _read_timestamp(value)
        elif number in (1, 2, 3):
            text[number] = _str(value)
    return SchedulerEntry(
        id=text.get(1, ""),
        spec=text.get(2, ""),
        task_type=text.get(3, ""),
        task_payload=payload,
        options=tuple(options),
        next_ns=moments.get(6),
        prev_ns=moments.get(7),
    )


def decode_event(data: bytes) -> EnqueueEvent:
    """Return the EnqueueEvent in *data*; raises DecodeError."""
    task_id, enqueued = "", 0
    for number, value, _ in _fields(data):
        if number == 1:
            task_id = _str(value)
        elif number == 2:
            enqueued = _read_timestamp(value) or 0
    return EnqueueEvent(task_id, enqueued)
