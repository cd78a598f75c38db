"""The codec against google.protobuf, on whatever messages hypothesis can think of."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from google.protobuf.message import DecodeError as ProtobufError
from hypothesis import given, settings
from hypothesis import strategies as st

from qd.errors import DecodeError
from qd.protocol import codec, protobuf
from qd.protocol.message import (
    EnqueueEvent,
    SchedulerEntry,
    ServerInfo,
    TaskMessage,
    Terms,
    WorkerInfo,
)
from tests.property import asynq_proto as proto

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
int32 = st.one_of(st.integers(0, 300), st.integers(-(2**31), 2**31 - 1))
int64 = st.one_of(st.integers(0, 300), st.integers(-(2**63), 2**63 - 1))
headers = st.dictionaries(text, text, max_size=3).map(lambda found: tuple(found.items()))
moments = st.one_of(st.none(), st.integers(-(10**18), 4 * 10**18))

tasks = st.builds(
    TaskMessage,
    type=text,
    payload=st.binary(max_size=200),
    id=text,
    terms=st.builds(
        Terms,
        queue=text,
        max_retry=int32,
        retried=int32,
        error=text,
        timeout=int64,
        deadline=int64,
        unique_key=text,
        last_failed_at=int64,
        retention=int64,
        completed_at=int64,
        group=text,
        headers=headers,
    ),
)
servers = st.builds(
    ServerInfo,
    host=text,
    pid=int32,
    server_id=text,
    concurrency=int32,
    queues=st.dictionaries(text, int32, max_size=3).map(lambda found: tuple(found.items())),
    strict_priority=st.booleans(),
    status=text,
    started_ns=st.integers(0, 4 * 10**18),
    active_workers=int32,
)
workers = st.builds(
    WorkerInfo,
    host=text,
    pid=int32,
    server_id=text,
    task_id=text,
    task_type=text,
    task_payload=st.binary(max_size=50),
    queue=text,
    started_ns=st.integers(0, 4 * 10**18),
    deadline_ns=moments,
)
entries = st.builds(
    SchedulerEntry,
    id=text,
    spec=text,
    task_type=text,
    task_payload=st.binary(max_size=50),
    options=st.lists(text, max_size=3).map(tuple),
    next_ns=moments,
    prev_ns=moments,
)
events = st.builds(EnqueueEvent, task_id=text, enqueued_ns=st.integers(0, 4 * 10**18))

KINDS: dict[str, tuple[Any, Any, Any, Any]] = {
    "task": (tasks, codec.encode_task, codec.decode_task, proto.TaskMessage),
    "server": (servers, codec.encode_server, codec.decode_server, proto.ServerInfo),
    "worker": (workers, codec.encode_worker, codec.decode_worker, proto.WorkerInfo),
    "entry": (entries, codec.encode_entry, codec.decode_entry, proto.SchedulerEntry),
    "event": (events, codec.encode_event, codec.decode_event, proto.SchedulerEnqueueEvent),
}
DECODERS = st.sampled_from([decode for _, _, decode, _ in KINDS.values()])


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=150)
def test_what_is_written_is_read_back_and_is_what_protobuf_writes(
    kind: str, data: st.DataObject
) -> None:
    strategy, encode, decode, judge = KINDS[kind]
    value = data.draw(strategy)
    wire = encode(value)
    assert decode(wire) == value
    judged = judge.FromString(wire)
    # Once more through the library: maps may come in another order, nothing else.
    assert _sorted(decode(judged.SerializeToString())) == _sorted(value)
    assert judged.ByteSize() == len(wire)


def _sorted(value: Any) -> Any:
    """The value with its maps in one order."""
    if isinstance(value, TaskMessage):
        ordered = tuple(sorted(value.terms.headers))
        return msgspec.structs.replace(value, terms=replace(value.terms, headers=ordered))
    if isinstance(value, ServerInfo):
        return msgspec.structs.replace(value, queues=tuple(sorted(value.queues)))
    return value


@given(tasks, st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_fields_may_come_in_any_order(task: TaskMessage, random: Any) -> None:
    fields = [raw for _, _, raw in protobuf.read_fields(codec.encode_task(task))]
    headers = [raw for raw in fields if raw[0] == 0x7A]
    random.shuffle(fields)
    found = codec.decode_task(b"".join(fields))
    assert dict(found.terms.headers) == dict(task.terms.headers)
    assert len(headers) == len(task.terms.headers)
    again = codec.decode_task(codec.encode_task(found))
    assert (again.type, again.payload, again.id) == (task.type, task.payload, task.id)
    assert codec.with_terms(found, headers=task.terms.headers).terms == task.terms  # type: ignore[arg-type]


@given(tasks, text, int64.filter(bool), st.binary(min_size=1, max_size=20), st.booleans())
@settings(max_examples=100)
def test_fields_of_later_versions_survive_a_rewrite(
    task: TaskMessage, some: str, number: int, blob: bytes, first: bool
) -> None:
    unknown = proto.LaterTaskMessage(f16=some, f100=number, f2000=blob).SerializeToString()
    known = codec.encode_task(task)
    found = codec.decode_task(unknown + known if first else known + unknown)
    changed = codec.with_terms(found, retried=7, error="boom")
    wire = codec.encode_task(changed)
    judged = proto.LaterTaskMessage.FromString(wire)
    assert (judged.f16, judged.f100, judged.f2000) == (some, number, blob)
    assert proto.TaskMessage.FromString(wire).retried == 7
    assert codec.decode_task(wire).terms == changed.terms


@given(DECODERS, st.binary(max_size=60))
@settings(max_examples=500)
def test_any_bytes_are_a_message_or_a_decode_error(decode: Any, data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        decode(data)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=100)
def test_a_message_that_was_cut_or_changed_is_read_as_protobuf_reads_it_or_refused(
    kind: str, data: st.DataObject
) -> None:
    strategy, encode, decode, judge = KINDS[kind]
    wire = bytearray(encode(data.draw(strategy)))
    if wire and data.draw(st.booleans()):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(wire[: data.draw(st.integers(0, len(wire)))])
    try:
        found = decode(damaged)
    except DecodeError:
        return
    try:
        judged = judge.FromString(damaged)
    except ProtobufError:
        pytest.fail(f"protobuf refuses {damaged.hex()}, read as {found}")
    if kind == "task":
        assert (found.type, found.payload, found.id) == (judged.type, judged.payload, judged.id)
        assert found.terms.max_retry == judged.retry
        assert found.terms.timeout == judged.timeout
        assert dict(found.terms.headers) == dict(judged.headers)


@given(tasks)
@settings(max_examples=100)
def test_the_quick_way_and_the_slow_way_agree(task: TaskMessage) -> None:
    wire = codec.encode_task(task)
    assert codec.decode_task(wire) == codec._decode_slowly(wire) == codec.decode_task(wire)
