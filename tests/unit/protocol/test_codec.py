"""The codec by example: golden bytes, odd encodings, damage."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from qd.errors import DecodeError
from qd.protocol import codec
from qd.protocol.message import (
    EnqueueEvent,
    SchedulerEntry,
    ServerInfo,
    TaskMessage,
    Terms,
    WorkerInfo,
)

GOLDEN = Path(__file__).parents[2] / "compat" / "golden"
ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
UNIQUE = "asynq:{critical}:unique:email:send:1181f89307fa271072c095747d5813cc"
START = 1767225600 * 10**9

# Round trips of these were checked with an independent protobuf library.
A = TaskMessage("email:send", b'{"user_id":42}', ID, Terms(max_retry=25, timeout=1800))
A_HEX = (
    "0a0a656d61696c3a73656e64120e7b22757365725f6964223a34327d1a2430663866616435622d643963622d3436"
    "39662d613136352d373038363737323839353065220764656661756c74281940880e"
)
B = TaskMessage(
    "email:send",
    b'{"user_id":42}',
    ID,
    Terms(
        queue="critical",
        max_retry=3,
        retried=1,
        error="boom",
        timeout=60,
        deadline=1767225600,
        unique_key=UNIQUE,
        last_failed_at=1767225000,
        retention=3600,
        completed_at=1767225100,
        group="g1",
        headers=(("traceparent", "00-abc"),),
    ),
)
B_HEX = (
    "0a0a656d61696c3a73656e64120e7b22757365725f6964223a34327d1a2430663866616435622d643963622d3436"
    "39662d613136352d3730383637373238393530652208637269746963616c280330013a04626f6f6d403c4880f2d6"
    "ca0652436173796e713a7b637269746963616c7d3a756e697175653a656d61696c3a73656e643a31313831663839"
    "333037666132373130373263303935373437643538313363635"
    "8a8edd6ca0660901c688ceed6ca06720267317a150a0b7472616365706172656e74120630302d616263"
)
SERVER = ServerInfo(
    "host-1", 4242, ID, 10, (("default", 1),), False, "active", START + 5 * 10**8, 2
)
SERVER_HEX = (
    "0a06686f73742d311092211a2430663866616435622d643963622d343639662d613136352d373038363737323839"
    "353065200a2a0b0a0764656661756c7410013a06616374697665420c0880f2d6ca061080cab5ee014802"
)
WORKER = WorkerInfo(
    "host-1", 4242, ID, "t1", "email:send", b"{}", "default", START, START + 1800 * 10**9
)
WORKER_HEX = (
    "0a06686f73742d311092211a2430663866616435622d643963622d343639662d613136352d373038363737323839"
    "353065220274312a0a656d61696c3a73656e6432027b7d3a0764656661756c7442060880f2d6ca064a06088880d7"
    "ca06"
)
ENTRY = SchedulerEntry(
    ID,
    "@every 30s",
    "email:send",
    b"{}",
    ('Queue("low")', "MaxRetry(3)"),
    START + 30 * 10**9,
    None,
)
ENTRY_HEX = (
    "0a2430663866616435622d643963622d343639662d613136352d373038363737323839353065120a406576657279"
    "203330731a0a656d61696c3a73656e6422027b7d2a0c517565756528226c6f7722292a0b4d617852657472792833"
    "293206089ef2d6ca063a0b088092b8c398feffffff01"
)
EVENT = EnqueueEvent("t1", START + 1)
EVENT_HEX = "0a02743112080880f2d6ca061001"

EXAMPLES: list[tuple[Any, str, Any, Any]] = [
    (A, A_HEX, codec.encode_task, codec.decode_task),
    (B, B_HEX, codec.encode_task, codec.decode_task),
    (SERVER, SERVER_HEX, codec.encode_server, codec.decode_server),
    (WORKER, WORKER_HEX, codec.encode_worker, codec.decode_worker),
    (ENTRY, ENTRY_HEX, codec.encode_entry, codec.decode_entry),
    (EVENT, EVENT_HEX, codec.encode_event, codec.decode_event),
]


@pytest.mark.parametrize(
    ("value", "wire", "encode", "decode"),
    EXAMPLES,
    ids=["A", "B", "server", "worker", "entry", "event"],
)
def test_known_messages_have_known_bytes(value: Any, wire: str, encode: Any, decode: Any) -> None:
    assert encode(value).hex() == wire
    assert decode(bytes.fromhex(wire)) == value


def golden(name: str) -> list[Any]:
    found: list[Any] = json.loads((GOLDEN / f"{name}.json").read_text())
    return [pytest.param(one, id=one["name"]) for one in found]


@pytest.mark.parametrize("one", golden("task_messages"))
def test_what_go_wrote_is_read_and_written_back(one: Any) -> None:
    said, wire = one["message"], bytes.fromhex(one["hex"])
    found = codec.decode_task(wire)
    terms = found.terms
    assert (found.type, found.id) == (said["type"], said["id"])
    assert found.payload == base64.b64decode(said["payload_b64"])
    assert terms == Terms(
        queue=said["queue"],
        max_retry=said["retry"],
        retried=said["retried"],
        error=said["error_msg"],
        timeout=said["timeout"],
        deadline=said["deadline"],
        unique_key=said["unique_key"],
        last_failed_at=said["last_failed_at"],
        retention=said["retention"],
        completed_at=said["completed_at"],
        group=said["group_key"],
        headers=terms.headers,
    )
    assert dict(terms.headers) == said["headers"]
    assert codec.encode_task(found) == wire


@pytest.mark.parametrize("one", golden("scheduler") + golden("server_and_workers"))
def test_what_go_wrote_about_itself_is_read_and_written_back(one: Any) -> None:
    wire = bytes.fromhex(one["hex"])
    for marker, encode, decode in (
        ("enqueue_options", codec.encode_entry, codec.decode_entry),
        ("enqueue_time", codec.encode_event, codec.decode_event),
        ("task_id", codec.encode_worker, codec.decode_worker),
        ("server_id", codec.encode_server, codec.decode_server),
    ):
        if marker in one["message"]:
            assert encode(decode(wire)) == wire  # type: ignore[operator]
            return
    pytest.fail(f"no reader for {one['message'].keys()}")


def test_no_bytes_are_a_blank_task() -> None:
    found = codec.decode_task(b"")
    assert found == TaskMessage("", b"", "", Terms(queue=""))
    assert codec.encode_task(found) == b""


@pytest.mark.parametrize("wire", ["0a0161", "0a01611200", "0a0161120101", "1201011a0161"])
def test_fields_may_be_missing_at_the_end_and_at_the_beginning(wire: str) -> None:
    found = codec.decode_task(bytes.fromhex(wire))
    assert found == codec._decode_slowly(bytes.fromhex(wire))


def test_headers_keep_empty_keys_and_values() -> None:
    task = TaskMessage("a", b"", "1", Terms(headers=(("", ""), ("k", ""), ("l", "v"))))
    wire = codec.encode_task(task)
    assert bytes.fromhex("7a040a001200") in wire
    assert codec.decode_task(wire) == task
    assert codec.decode_task(bytes.fromhex("7a00")).terms.headers == (("", ""),)


def test_the_last_of_two_equal_headers_counts() -> None:
    wire = bytes.fromhex("7a060a016b120131" + "7a060a016b120132")
    assert codec.decode_task(wire).terms.headers == (("k", "2"),)


def test_negative_numbers_take_ten_bytes_and_keep_their_sign() -> None:
    task = TaskMessage("a", b"", "1", Terms(max_retry=-1, timeout=-(2**63)))
    wire = codec.encode_task(task)
    assert bytes.fromhex("28ffffffffffffffffff01") in wire
    assert codec.decode_task(wire) == task


def test_a_number_too_large_for_its_field_wraps_as_in_go() -> None:
    assert codec.decode_task(bytes.fromhex("28ffffffff0f")).terms.max_retry == -1
    assert codec.decode_task(bytes.fromhex("288180808010")).terms.max_retry == 1
    assert codec.decode_server(bytes.fromhex("2a0e0a016110ffffffffffffffffff01")).queues == (
        ("a", -1),
    )


def test_never_is_gos_zero_time_and_a_missing_moment() -> None:
    wire = codec.encode_entry(SchedulerEntry("", "", "", b"", (), None, 0))
    assert wire.hex() == "320b088092b8c398feffffff013a00"
    found = codec.decode_entry(wire)
    assert (found.next_ns, found.prev_ns) == (None, 0)
    assert codec.decode_entry(b"").prev_ns is None


@pytest.mark.parametrize("field", [1, 3, 4, 7, 10, 14])
def test_text_that_is_not_utf8_is_refused_as_go_refuses_it(field: int) -> None:
    with pytest.raises(DecodeError, match=r"UTF-8|utf-8"):
        codec.decode_task(bytes([field << 3 | 2, 2, 0xC3, 0x28]))


def test_text_that_is_not_utf8_is_refused_in_messages_like_known_ones() -> None:
    wire = codec.encode_task(A)
    assert codec.decode_task(wire) == A
    for good in (b"email:send", ID.encode()):
        with pytest.raises(DecodeError):
            codec.decode_task(wire.replace(good, b"\xff" * len(good)))


@pytest.mark.parametrize(
    "wire",
    [
        "0a",
        "0a05616263",
        "0affffffffffffffffff01",
        "28",
        "28ffffffffffffffffffff01",
        "0001",
        "0b",
        "0c",
        "2f",
        "0861",
        "2a0161",
        "09" + "61" * 8,
        "0d" + "61" * 4,
        "7a020a",
        "7a0108",
        "8080808010" + "01",
    ],
)
def test_what_is_no_task_message_is_refused_with_its_size(wire: str) -> None:
    with pytest.raises(DecodeError, match=f"of {len(wire) // 2} bytes"):
        codec.decode_task(bytes.fromhex(wire))


@pytest.mark.parametrize(
    ("decode", "wire"),
    [
        (codec.decode_event, "120108"),
        (codec.decode_worker, "420108"),
        (codec.decode_server, "420108"),
        (codec.decode_server, "2a010a"),
        (codec.decode_entry, "320108"),
        (codec.decode_entry, "3201"),
    ],
)
def test_a_part_that_was_cut_short_is_refused(decode: Any, wire: str) -> None:
    with pytest.raises(DecodeError):
        decode(bytes.fromhex(wire))


def test_unknown_fields_of_every_wire_type_are_kept() -> None:
    unknown = bytes.fromhex("800101" + "8a010161" + "8101" + "00" * 8 + "8501" + "00" * 4)
    found = codec.decode_task(codec.encode_task(A) + unknown)
    assert found.terms.unknown == unknown
    assert codec.encode_task(codec.with_terms(found, retried=1)).endswith(unknown)


def test_changed_terms_leave_the_message_they_came_from_as_it_was() -> None:
    found = codec.decode_task(bytes.fromhex(B_HEX))
    changed = codec.with_terms(found, retried=2, error="again")
    assert codec.encode_task(found).hex() == B_HEX
    assert (changed.terms.retried, changed.terms.error) == (2, "again")
    assert codec.decode_task(codec.encode_task(changed)) == changed


def test_reading_many_different_messages_remembers_no_more_than_a_few_of_them() -> None:
    for number in range(5000):
        terms = Terms(last_failed_at=number + 1, error="x" * 100)
        codec.decode_task(codec.encode_task(TaskMessage("a", b"", "1", terms)))
    long = TaskMessage("a", b"", "1", Terms(error="x" * 8000))
    assert codec.decode_task(codec.encode_task(long)) == long
    assert len(codec._tails) <= 4096
    assert max(map(len, codec._tails)) <= 256
